/*
 * Child processes and temporary directories: see process.h.
 */
#include "tests/support/process.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/buf.h"
#include "shared/fd.h"

#define OUTPUT_MAX (64u << 20)
#define DIRS_MAX   256

int process_run(const char *const *argv, const char *dir, char **ret_out)
{
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC) < 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        if (dir && chdir(dir) < 0)
            _exit(126);
        dup2(pipes[1], STDOUT_FILENO);
        dup2(pipes[1], STDERR_FILENO);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(pipes[1]);
    struct buf out;
    struct arp_err err;
    buf_init(&out, OUTPUT_MAX);
    fd_read_all(pipes[0], &out, &err);
    close(pipes[0]);
    int st = 0;
    while (pid > 0 && waitpid(pid, &st, 0) < 0 && errno == EINTR)
        ;
    if (ret_out)
        *ret_out = out.data ? buf_steal(&out) : strdup("");
    buf_done(&out);
    return pid < 0 ? -1 : WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}

const char *program_path(const char *name)
{
    static char path[512];
    const char *build = getenv("ARP_BUILD");
    snprintf(path, sizeof(path), "%s/%s", build ? build : "build", name);
    return path;
}

const char *helper_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s", program_path(name));
    if (access(path, R_OK) != 0)
        snprintf(path, sizeof(path), "build/%s", name);
    return path;
}

static char dirs[DIRS_MAX][64];
static int dir_count;
static pid_t owner;

static void remove_dirs(void)
{
    for (int i = 0; i < dir_count && getpid() == owner; i++)
        RUN_ARGV(NULL, NULL, "rm", "-rf", dirs[i]);
}

const char *temp_dir(void)
{
    if (dir_count == DIRS_MAX)
        return NULL;
    if (dir_count == 0) {
        owner = getpid();
        atexit(remove_dirs);
    }
    char *d = dirs[dir_count];
    snprintf(d, sizeof(dirs[0]), "/tmp/arp-test-XXXXXX");
    if (!mkdtemp(d))
        return NULL;
    dir_count++;
    return d;
}

void temp_make(char ret[64])
{
    snprintf(ret, 64, "/tmp/arp-test-XXXXXX");
    if (!mkdtemp(ret) || chmod(ret, 0755) != 0)
        abort();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

int temp_remove(const char *path)
{
    /* A process that was just killed may still be closing a file here: once more is enough. */
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 ||
        nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0)
        return 0;
    perror(path);
    return -1;
}
