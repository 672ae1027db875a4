/*
 * A repository of the workload's: see workload_repo.h.
 */
#include "tests/support/workload_repo.h"

#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/fd.h"
#include "tests/support/process.h"
#include "tests/support/suite.h"

#define WORKLOAD 1000u

void workload_repo_make(struct workload_repo *r)
{
    bool root = geteuid() == 0;
    temp_make(r->base);
    snprintf(r->path, sizeof(r->path), "%s/repo", r->base);
    ASSERT_INT(mkdir(r->path, 0755), 0);
    r->files = (struct repofiles){
        .repo_path = r->path, .uid = root ? WORKLOAD : geteuid(), .gid = root ? WORKLOAD : getegid()};
    ASSERT_INT(chown(r->path, r->files.uid, r->files.gid), 0);
    r->files.repo_fd = open(r->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    ASSERT_TRUE(r->files.repo_fd >= 0);
}

void workload_repo_drop(struct workload_repo *r)
{
    close(r->files.repo_fd);
    temp_remove(r->base);
}

void workload_repo_put(const struct workload_repo *r, const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/%s", r->path, name);
    cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ASSERT_TRUE(fd >= 0);
    ASSERT_INT(fd_write_all(fd, text, strlen(text), NULL), 0);
    ASSERT_INT(fchown(fd, r->files.uid, r->files.gid), 0);
}

void workload_repo_holds(const struct workload_repo *r, const char *name, const char *want)
{
    char path[200];
    cleanup_buf struct buf b;
    buf_init(&b, 1 << 24);
    snprintf(path, sizeof(path), "%s/%s", r->path, name);
    int rc = file_read(path, &b, NULL);
    ASSERT_STR(rc ? "(missing)" : buf_str(&b), want ? want : "(missing)");
}

static int entries;

static int count_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)path, (void)st, (void)flag, (void)ftw;
    entries++;
    return 0;
}

int workload_repo_count(const struct workload_repo *r)
{
    entries = 0;
    nftw(r->path, count_one, 16, FTW_PHYS);
    return entries;
}
