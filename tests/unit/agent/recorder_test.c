/*
 * Tests of agent/recorder.c with agent/proctable.c, tracee.c, script.c and launcher.c under it: real processes in a real sandbox, and what they
 * say of themselves against what was recorded.
 */
#include "agent/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/treekill.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/limits.h"
#include "tests/support/lab.h"

/* Run PREY with these arguments. */
#define RUN_PREY(box, run, ...)                                                                              \
    do {                                                                                                     \
        const char *prey_argv[] = {lab.prey, __VA_ARGS__, NULL};                                             \
        lab_run((box), prey_argv, 3000, (run));                                                              \
    } while (0)

static unsigned total(const struct lab_run *r, bool exits)
{
    unsigned n = 0;
    for (const struct process_record *p = r->records; p; p = p->next)
        n += p->is_exit == exits;
    return n;
}

/* The numbers that are told at the end are those of the records. */
static void check_counts(const struct lab_run *r)
{
    unsigned unconfirmed = 0;
    for (const struct process_record *p = r->records; p; p = p->next)
        unconfirmed += !p->is_exit && !p->confirmed;
    ASSERT_INT(r->tally.counts.execs, total(r, false));
    ASSERT_INT(r->tally.counts.exits, total(r, true));
    ASSERT_INT(r->tally.counts.unconfirmed, unconfirmed);
    ASSERT_INT(r->tally.records_dropped, 0);
    CU_ASSERT(r->all_ended);
}

/* Every record's file, digest, confirmation and flags. */
static void expect(const struct process_record *p, const char *exe, const char *sha256, unsigned flags)
{
    CU_ASSERT_FATAL(p != NULL);
    CU_ASSERT(p->confirmed);
    ASSERT_STR(p->exe, exe);
    ASSERT_STR(p->exe_sha256, sha256);
    ASSERT_INT(p->flags, flags);
    ASSERT_INT(p->uid, lab.ids.uid);
    ASSERT_INT(p->command_id, 7);
}

static void write_file(const char *name, const char *text, mode_t mode)
{
    int fd = openat(lab.work_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    CU_ASSERT_FATAL(fd >= 0 && fd_write_all(fd, text, strlen(text), NULL) == 0);
    CU_ASSERT_EQUAL_FATAL(fchown(fd, lab.ids.uid, lab.ids.uid), 0);
    CU_ASSERT_EQUAL_FATAL(fchmod(fd, mode), 0);
    close(fd);
}

/* A copy of path with tail behind it, so that its digest is its own. */
static void copy_file(const char *path, const char *name, const char *tail, mode_t mode)
{
    cleanup_buf struct buf b;
    struct arp_err err;
    buf_init(&b, 8u << 20);
    CU_ASSERT_EQUAL_FATAL(file_read(path, &b, &err), 0);
    buf_append_str(&b, tail);
    int fd = openat(lab.work_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    CU_ASSERT_FATAL(fd >= 0 && fd_write_all(fd, b.data, b.len, &err) == 0);
    CU_ASSERT_EQUAL_FATAL(fchown(fd, lab.ids.uid, lab.ids.uid), 0);
    CU_ASSERT_EQUAL_FATAL(fchmod(fd, mode), 0);
    close(fd);
}

static void in_work(const char *name, char ret[256])
{
    snprintf(ret, 256, "%s/%s", lab.work, name);
}

/* --- who ran, how it ended --- */

static void recorder_records_a_command(void)
{
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    RUN_PREY(&box, &run, "leaf", "1", "7");
    check_counts(&run);
    ASSERT_INT(total(&run, false), 1);
    const struct process_record *p = lab_find(&run, NULL);
    expect(p, lab.prey, lab.prey_sha256, 0);
    ASSERT_INT(p->ppid, getpid());
    ASSERT_STR(p->cwd, lab.work);
    ASSERT_STR(lab_arg(p, 0), lab.prey);
    ASSERT_STR(lab_arg(p, 3), "7");
    const struct process_record *e = lab_exit_of(&run, p);
    CU_ASSERT_FATAL(e != NULL && e->has_status);
    ASSERT_INT(WEXITSTATUS(e->status), 7);
    lab_run_done(&run);
    lab_close(&box);
}

/* Forks, vforks, posix_spawn, double forks, daemons, execs of a second thread; exits of all kinds. */
static void recorder_sees_every_descendant_and_its_end(void)
{
    enum { LEAVES = 360 };
    static const char *const ends[] = {"0", "7", "s9", "255", "s15", "s11", "1", "s6"};
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    RUN_PREY(&box, &run, "tree", "360");
    check_counts(&run);
    ASSERT_INT(run.status, 0);
    ASSERT_INT(total(&run, false), LEAVES + 1);
    ASSERT_INT(total(&run, true), LEAVES + 1);
    unsigned told = 0;
    for (char *line = strtok(run.out.data, "\n"); line; line = strtok(NULL, "\n")) {
        int id, pid, ppid;
        unsigned n;
        char text[16];
        if (sscanf(line, "leaf %d %d %d", &id, &pid, &ppid) != 3)
            continue;
        told++;
        const struct process_record *p = lab_find_pid(&run, pid, lab.prey, &n);
        ASSERT_INT(n, 1);
        expect(p, lab.prey, lab.prey_sha256, 0);
        snprintf(text, sizeof(text), "%d", id);
        ASSERT_STR(lab_arg(p, 2), text);
        ASSERT_STR(p->cwd, lab.work);
        /* The parent may have ended between the exec and its telling. */
        CU_ASSERT(p->ppid == ppid || ppid == getpid());
        const struct process_record *e = lab_exit_of(&run, p);
        CU_ASSERT_FATAL(e != NULL && e->has_status);
        const char *end = ends[id % 8];
        if (end[0] == 's')
            ASSERT_INT(e->status & 0x7f, atoi(end + 1));
        else
            ASSERT_INT(e->status, atoi(end) << 8);
    }
    ASSERT_INT(told, LEAVES);
    lab_run_done(&run);
    lab_close(&box);
}

static void recorder_tells_the_end_of_what_is_killed(void)
{
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    const char *argv[] = {"sh", "-c",
        "for i in 1 2 3 4 5; do setsid sh -c 'sleep 100 >&2 & echo $! $$; exec sleep 200 >&2' & done "
        "2>/dev/null |"
        "for i in 1 2 3 4 5; do read -r p q; for p in $p $q; do "
        "until read -r c </proc/$p/comm && [ \"$c\" = sleep ]; do :; done; done; done; echo up",
        NULL};
    lab_run(&box, argv, 0, &run); /* no time for the daemons: they are killed */
    check_counts(&run);
    unsigned killed = 0;
    for (const struct process_record *p = run.records; p; p = p->next) {
        CU_ASSERT(p->is_exit || lab_exit_of(&run, p) != NULL || lab_count(&run, p->exe) > 1);
        killed += p->is_exit && p->has_status && WIFSIGNALED(p->status) && WTERMSIG(p->status) == SIGKILL;
    }
    ASSERT_INT(killed, 10);
    lab_run_done(&run);
    lab_close(&box);
}

static void recorder_keeps_commands_apart(void)
{
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    for (int i = 0; i < 5; i++) {
        lab_sh(&box, "/bin/true; /bin/true; sleep 50 & :", 0, &run);
        check_counts(&run);
        ASSERT_INT(lab_count(&run, "/usr/bin/true"), 2);
        CU_ASSERT_EQUAL(lab_exit_of(&run, run.records) != NULL, 1);
        lab_run_done(&run);
    }
    lab_close(&box);
}

/* --- kinds of programs --- */

static void recorder_confirms_static_programs(void)
{
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    const char *argv[] = {lab.prey_static, "leaf", "1", "3", NULL};
    lab_run(&box, argv, 1000, &run);
    check_counts(&run);
    expect(lab_find(&run, NULL), lab.prey_static, lab.prey_static_sha256, 0);
    lab_run_done(&run);
    lab_close(&box);
}

static void recorder_records_programs_without_libc_as_unconfirmed(void)
{
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    lab_sh(&box, "$BARE leaf 0 9; $BARE leaf 1200 4; /bin/true", 1000, &run);
    check_counts(&run);
    ASSERT_INT(lab_count(&run, lab.bare), 2);
    ASSERT_INT(run.tally.counts.unconfirmed, 2);
    const struct process_record *p = lab_find(&run, lab.bare);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_FATAL(p != NULL);
        CU_ASSERT(!p->confirmed);
        ASSERT_STR(p->exe_sha256, lab.bare_sha256);
        ASSERT_INT(p->flags, 0);
        ASSERT_STR(lab_arg(p, 1), "leaf");
        const struct process_record *e = lab_exit_of(&run, p);
        CU_ASSERT_FATAL(e != NULL && e->has_status);
        ASSERT_INT(WEXITSTATUS(e->status), i == 0 ? 9 : 4);
        for (p = p->next; p && (p->is_exit || strcmp(p->exe, lab.bare) != 0); p = p->next)
            ;
    }
    lab_run_done(&run);
    lab_close(&box);
}

static void recorder_follows_a_program_that_executes_itself(void)
{
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    const char *argv[] = {lab.bare, "self", "5", NULL};
    lab_run(&box, argv, 1000, &run);
    check_counts(&run);
    ASSERT_INT(lab_count(&run, lab.bare), 6);
    ASSERT_INT(total(&run, true), 1);
    lab_run_done(&run);
    lab_close(&box);
}

/* It leaves nothing behind that could be looked at when its end is told. */
static void recorder_records_a_program_that_unlinks_itself(void)
{
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    copy_file(lab.bare, "vanish", "", 0755);
    lab_sh(&box, "./vanish vanish; test ! -e vanish", 1000, &run);
    ASSERT_INT(run.status, 0);
    check_counts(&run);
    ASSERT_INT(run.tally.counts.unconfirmed, 1);
    const struct process_record *p = run.records;
    while (p && (p->is_exit || p->confirmed))
        p = p->next;
    CU_ASSERT_FATAL(p != NULL);
    ASSERT_STR(p->exe_sha256, lab.bare_sha256);
    ASSERT_INT(p->flags, PROCESS_DELETED);
    lab_run_done(&run);
    lab_close(&box);
}

static void recorder_takes_one_of_many_threads_execs(void)
{
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    for (int i = 0; i < 10; i++) {
        RUN_PREY(&box, &run, "threads", "24");
        check_counts(&run);
        ASSERT_INT(total(&run, false), 2);
        const struct process_record *p = run.records->next;
        expect(p, lab.prey, lab.prey_sha256, p->flags & PROCESS_ARGV_CHANGED);
        char want[64];
        snprintf(want, sizeof(want), "\tsay\t%s\n", lab_arg(p, 2));
        ASSERT_CONTAINS(buf_str(&run.out), want);
        CU_ASSERT(p->flags == 0);
        lab_run_done(&run);
    }
    lab_close(&box);
}

static void recorder_records_setuid_files_which_have_no_effect(void)
{
    struct lab_box box;
    struct lab_run run;
    char path[256];
    lab_open(&box, SECCOMP_DEFAULT);
    copy_file(lab.prey, "setuid", "", 0755);
    in_work("setuid", path);
    CU_ASSERT_EQUAL_FATAL(chown(path, 0, 0), 0);
    CU_ASSERT_EQUAL_FATAL(chmod(path, 06755), 0);
    const char *argv[] = {"./setuid", "state", NULL};
    lab_run(&box, argv, 1000, &run);
    check_counts(&run);
    expect(lab_find(&run, NULL), path, lab.prey_sha256, 0);
    char want[96];
    unsigned id = lab.ids.uid;
    snprintf(want, sizeof(want), "ids %u %u %u %u groups 0\n", id, id, id, id);
    ASSERT_CONTAINS(buf_str(&run.out), want);
    lab_run_done(&run);
    unlink(path);
    lab_close(&box);
}

/* Mode 0111: nobody but the kernel may read it, so it stays without name and digest, and says so; what it starts is recorded as ever. */
static void recorder_flags_programs_it_may_not_read(void)
{
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    copy_file(lab.prey, "unreadable", "", 0111);
    copy_file(lab.bare, "unreadable-bare", "", 0111);
    const char *argv[] = {"./unreadable", "many", "3", "/bin/true", NULL};
    lab_run(&box, argv, 1000, &run);
    check_counts(&run);
    ASSERT_INT(total(&run, false), 4);
    const struct process_record *p = run.records;
    CU_ASSERT(p->exe == NULL && p->exe_sha256[0] == 0 && !p->confirmed);
    ASSERT_INT(p->flags, PROCESS_UNHASHED);
    ASSERT_STR(lab_arg(p, 0), "./unreadable");
    ASSERT_INT(lab_count(&run, "/usr/bin/true"), 3);
    for (p = p->next; p; p = p->next)
        CU_ASSERT(p->is_exit || (p->flags == 0 && p->exe_sha256[0]));
    lab_run_done(&run);
    /* an unreadable caller can't be asked what it wants to run: all that it starts is a record */
    const char *bare[] = {"./unreadable", "many", "2", lab.bare, NULL};
    lab_run(&box, bare, 1000, &run);
    check_counts(&run);
    ASSERT_INT(total(&run, false), 3);
    ASSERT_INT(run.tally.counts.unconfirmed, 3);
    lab_run_done(&run);
    lab_close(&box);
}

static void recorder_flags_files_without_a_name(void)
{
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    RUN_PREY(&box, &run, "fd", "memfd", lab.prey, "say", "a");
    check_counts(&run);
    expect(run.records->next, "/memfd:hidden (deleted)", lab.prey_sha256, PROCESS_MEMFD);
    lab_run_done(&run);
    RUN_PREY(&box, &run, "fd", "deleted", lab.prey, "say", "a");
    check_counts(&run);
    ASSERT_CONTAINS(run.records->next->exe, "/work/gone (deleted)");
    ASSERT_STR(run.records->next->exe_sha256, lab.prey_sha256);
    ASSERT_INT(run.records->next->flags, PROCESS_DELETED);
    lab_run_done(&run);
    /* not deleted, only called so */
    copy_file(lab.prey, "x (deleted)", "", 0755);
    lab_sh(&box, "'./x (deleted)' say", 1000, &run);
    ASSERT_CONTAINS(run.records->next->exe, "/work/x (deleted)");
    ASSERT_INT(run.records->next->flags, 0);
    lab_run_done(&run);
    lab_close(&box);
}

static void recorder_understands_execveat(void)
{
    static const char *const kinds[] = {"fexecve", "at"};
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    for (int i = 0; i < 2; i++) {
        RUN_PREY(&box, &run, "fd", kinds[i], lab.prey_static, "say", "a b", "");
        check_counts(&run);
        ASSERT_INT(total(&run, false), 2);
        expect(run.records->next, lab.prey_static, lab.prey_static_sha256, 0);
        ASSERT_STR(lab_arg(run.records->next, 2), "a b");
        lab_run_done(&run);
    }
    lab_close(&box);
}

/* --- arguments --- */

static void recorder_keeps_strange_arguments(void)
{
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    RUN_PREY(&box, &run, "say", "", "\xff\xfe\x80", "new\nline", "");
    check_counts(&run);
    const struct process_record *p = run.records;
    ASSERT_INT(p->flags, 0);
    ASSERT_STR(lab_arg(p, 3), "\xff\xfe\x80");
    ASSERT_STR(lab_arg(p, 4), "new\nline");
    ASSERT_INT(p->args.total, strlen(lab.prey) + 1 + 4 + 1 + 4 + 9 + 1);
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex_of(p->args.bytes, p->args.len, hex);
    ASSERT_STR(p->args.sha256, hex);
    lab_run_done(&run);
    RUN_PREY(&box, &run, "fd", "empty-argv", lab.prey);
    check_counts(&run);
    p = run.records->next;
    expect(p, lab.prey, lab.prey_sha256, 0);
    ASSERT_INT(p->args.total, 1); /* the kernel puts one empty string there */
    lab_run_done(&run);
    lab_close(&box);
}

/* count arguments of bytes bytes: the record's count and digest are those of all of them. */
static void check_fill(struct lab_box *box, const char *count, const char *bytes)
{
    struct lab_run run;
    struct sha256 *h = sha256_new();
    char hex[SHA256_HEX_LEN + 1];
    size_t n = (size_t)atoi(count), len = (size_t)atoi(bytes);
    char *word = malloc(len + 1);
    memset(word, 'x', len);
    word[len] = 0;
    sha256_update(h, lab.prey, strlen(lab.prey) + 1);
    sha256_update(h, "nothing", 8);
    for (size_t i = 0; i < n; i++)
        sha256_update(h, word, len + 1);
    sha256_hex(h, hex);
    sha256_free(h);
    free(word);
    RUN_PREY(box, &run, "fill", lab.prey, count, bytes);
    check_counts(&run);
    ASSERT_INT(total(&run, false), 2);
    const struct process_record *p = run.records->next;
    expect(p, lab.prey, lab.prey_sha256, 0);
    ASSERT_INT(p->args.total, strlen(lab.prey) + 1 + 8 + n * (len + 1));
    ASSERT_INT(p->args.len, TRACEE_ARGV_KEEP);
    ASSERT_STR(p->args.sha256, hex);
    lab_run_done(&run);
}

static void recorder_hashes_what_it_does_not_keep(void)
{
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    check_fill(&box, "9", "120000");
    check_fill(&box, "100000", "1");
    check_fill(&box, "50000", "0");
    RUN_PREY(&box, &run, "fill", lab.prey, "60", "120000");
    check_counts(&run);
    ASSERT_CONTAINS(buf_str(&run.out), "errno 7"); /* E2BIG */
    /* The file could have run and the process ended without another word: it is not claimed to have run, nor that it did not. */
    ASSERT_INT(total(&run, false), 2);
    ASSERT_INT(run.tally.counts.unconfirmed, 1);
    lab_run_done(&run);
    lab_close(&box);
}

/* --- scripts --- */

static void recorder_follows_scripts(void)
{
    struct lab_box box;
    struct lab_run run;
    char text[512], path[256], hex[SHA256_HEX_LEN + 1];
    lab_open(&box, SECCOMP_DEFAULT);
    copy_file(lab.prey, "interp", "", 0755);
    write_file("one", "#!./interp say  two words \nbody", 0755);
    write_file("two", "#! ./one", 0755);
    write_file("three", "#!two x\n", 0755);
    in_work("four", path);
    snprintf(text, sizeof(text), "#!\t%s/three\ty z\t\n", lab.work);
    write_file("four", text, 0755);
    lab_sh(&box, "./four 'a b' ''", 1000, &run);
    check_counts(&run);
    const struct process_record *p = run.records->next;
    in_work("interp", path);
    expect(p, path, lab.prey_sha256, 0);
    ASSERT_INT(p->script_count, 4);
    ASSERT_STR(p->scripts[0].path, "./four");
    ASSERT_STR(p->scripts[2].path, "two");
    ASSERT_STR(p->scripts[3].path, "./one");
    sha256_hex_of(text, strlen(text), hex);
    ASSERT_STR(p->scripts[0].sha256, hex);
    sha256_hex_of("#!two x\n", 8, hex);
    ASSERT_STR(p->scripts[1].sha256, hex);
    /* The record's arguments are those that the program says it got. */
    snprintf(text, sizeof(text), "\t./interp\tsay  two words\t./one\ttwo\tx\t%s/three\ty z\t./four\ta b\t\n",
        lab.work);
    ASSERT_STR(lab_arg(p, 1), "say  two words");
    ASSERT_STR(lab_arg(p, 2), "./one");
    ASSERT_STR(lab_arg(p, 6), "y z");
    ASSERT_STR(lab_arg(p, 7), "./four");
    ASSERT_STR(lab_arg(p, 8), "a b");
    lab_run_done(&run);
    /* One level more than the kernel follows; it is no record. */
    write_file("five", "#!./four\n", 0755);
    write_file("six", "#!./five\n", 0755);
    lab_sh(&box, "$PREY try ./five; $PREY try ./six", 1000, &run);
    check_counts(&run);
    ASSERT_INT(lab_count(&run, path), 1);
    ASSERT_INT(lab_find(&run, path)->script_count, 5);
    ASSERT_INT(lab_find(&run, path)->flags, 0);
    ASSERT_CONTAINS(buf_str(&run.out), "errno 40"); /* ELOOP */
    lab_run_done(&run);
    lab_close(&box);
}

static void recorder_follows_a_script_on_a_descriptor(void)
{
    struct lab_box box;
    struct lab_run run;
    char path[256];
    lab_open(&box, SECCOMP_DEFAULT);
    write_file("script", "#!/bin/sh\necho $0 $1\n", 0755);
    in_work("script", path);
    RUN_PREY(&box, &run, "fd", "script", path, "hello");
    check_counts(&run);
    ASSERT_CONTAINS(buf_str(&run.out), "/dev/fd/3 hello");
    const struct process_record *p = run.records->next;
    ASSERT_STR(p->exe, "/usr/bin/dash");
    ASSERT_INT(p->flags, 0);
    ASSERT_INT(p->script_count, 1);
    ASSERT_STR(p->scripts[0].path, "/dev/fd/3");
    lab_run_done(&run);
    lab_close(&box);
}

/* On tmpfs a page that was mapped by reading is written without a trace, too, also between two executions of a program. */
static void recorder_hashes_a_program_on_tmpfs_each_time(void)
{
    struct lab_box box;
    struct lab_run run;
    char path[64], script[1024], first[SHA256_HEX_LEN + 1], last[SHA256_HEX_LEN + 1];
    snprintf(path, sizeof(path), "/dev/shm/arp-lab-program-%d", (int)getpid());
    unlink(path);
    lab_open(&box, SECCOMP_DEFAULT);
    snprintf(script, sizeof(script),
        "cp $PREY_STATIC %s; printf '0%%09999d' 0 >> %s; sleep 0.3; %s say;"
        "python3 -c 'import mmap, os; m = mmap.mmap(os.open(\"%s\", os.O_RDWR), 0); x = m[len(m)-5]; "
        "m[len(m)-5] = 49; m.close()';"
        "%s say",
        path, path, path, path, path);
    lab_sh(&box, script, 1000, &run);
    lab_sha256(path, last);
    unlink(path);
    ASSERT_INT(run.status, 0);
    ASSERT_INT(lab_count(&run, path), 2);
    const struct process_record *p = lab_find(&run, path);
    CU_ASSERT_FATAL(p != NULL);
    memcpy(first, p->exe_sha256, sizeof(first));
    for (p = p->next; p && (p->is_exit || strcmp(p->exe, path) != 0); p = p->next)
        ;
    CU_ASSERT_FATAL(p != NULL);
    CU_ASSERT(strcmp(first, last) != 0);
    ASSERT_STR(p->exe_sha256, last);
    lab_run_done(&run);
    lab_close(&box);
}

/* --- attempts that fail --- */

static void recorder_counts_failed_attempts(void)
{
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    write_file("text", "echo not a script\n", 0755);
    write_file("plain", "#!/bin/sh\n", 0644);
    write_file("no-interpreter", "#!/no/such/interpreter\n", 0755);
    static const struct {
        const char *path;
        const char *told;
    } cases[] = {{"/no/such", "errno 2\n"}, {"/usr", "errno 13\n"}, {"./text", "errno 8\n"},
        {"./plain", "errno 13\n"}, {"./no-interpreter", "errno 2\n"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        static const char *const ways[] = {"try", "try-exit"};
        for (int k = 0; k < 2; k++) {
            RUN_PREY(&box, &run, ways[k], cases[i].path);
            check_counts(&run);
            if (k == 0)
                ASSERT_CONTAINS(buf_str(&run.out), cases[i].told);
            ASSERT_INT(total(&run, false), 1);
            ASSERT_INT(run.tally.counts.failed_execs, 1);
            lab_run_done(&run);
        }
    }
    lab_close(&box);
}

static void recorder_counts_a_search_of_many_directories(void)
{
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    RUN_PREY(&box, &run, "misses", "200");
    check_counts(&run);
    ASSERT_INT(total(&run, false), 2);
    ASSERT_INT(run.tally.counts.failed_execs, 200);
    expect(lab_find(&run, "/usr/bin/true"), "/usr/bin/true", lab_find(&run, "/usr/bin/true")->exe_sha256, 0);
    ASSERT_INT(run.tally.counts.changed, 0);
    lab_run_done(&run);
    lab_close(&box);
}

/* --- lies --- */

#define TRIES 40

/* What ran said "ran PID EXE<TAB>ARG…": the record of that process must say the same, or be flagged. Returns the number of lies that nobody
 * would notice; *ret_flagged: records with a flag. */
static unsigned undetected(const struct lab_run *run, unsigned *ret_flagged)
{
    unsigned bad = 0;
    unsigned told = 0;
    char *save = NULL;
    char *text = strdup(buf_str(&run->out));
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char exe[512], hex[SHA256_HEX_LEN + 1];
        int pid, at;
        unsigned n;
        if (sscanf(line, "ran %d %511[^\t]%n", &pid, exe, &at) != 2)
            continue;
        told++;
        const struct process_record *p = lab_find_pid(run, pid, exe, &n);
        if (!p) {
            printf("nothing recorded of: %s\n", line);
            bad++;
            continue;
        }
        lab_sha256(exe, hex);
        bool right = (!hex[0] || strcmp(hex, p->exe_sha256) == 0);
        for (unsigned i = 0; lab_arg(p, i); i++) {
            size_t len = strlen(lab_arg(p, i));
            right = right && line[at] == '\t' && strncmp(line + at + 1, lab_arg(p, i), len) == 0;
            at += (int)len + 1;
        }
        right = right && line[at] == 0;
        if (p->flags)
            ++*ret_flagged;
        if (!right && !p->flags) {
            printf("wrong record of: %s\n", line);
            bad++;
        }
    }
    free(text);
    if (told == 0)
        printf("nothing ran: %s\n", buf_str(&run->out));
    return told == 0 ? bad + 1 : bad;
}

/* *ret_flagged: how many of the tries were flagged; need not be all, as a lie that was not told is none. */
static unsigned lie(const char *how, unsigned *ret_flagged)
{
    struct lab_box box;
    char honest[256], hidden[256];
    unsigned bad = 0;
    *ret_flagged = 0;
    lab_open(&box, SECCOMP_DEFAULT);
    copy_file(lab.prey, "prog-honest", "1", 0755);
    copy_file(lab.prey, "prog-hidden", "2", 0755);
    in_work("prog-honest", honest);
    in_work("prog-hidden", hidden);
    for (int i = 0; i < TRIES; i++) {
        struct lab_run run;
        RUN_PREY(&box, &run, "lie", how, honest, hidden);
        bad += undetected(&run, ret_flagged);
        lab_run_done(&run);
    }
    lab_close(&box);
    printf("lie %s: %u of %d flagged, %u undetected\n", how, *ret_flagged, TRIES, bad);
    return bad;
}

static void lie_sibling_flips_arguments(void)
{
    unsigned flagged;
    ASSERT_INT(lie("argv", &flagged), 0);
}

static void lie_sibling_flips_path(void)
{
    unsigned flagged;
    ASSERT_INT(lie("path", &flagged), 0);
}

static void lie_process_on_the_same_memory_flips(void)
{
    unsigned flagged;
    ASSERT_INT(lie("vm", &flagged), 0);
}

static void lie_shared_mapping_is_flipped(void)
{
    unsigned flagged;
    ASSERT_INT(lie("shared", &flagged), 0);
}

static void lie_writer_of_proc_mem_is_refused(void)
{
    unsigned flagged;
    struct lab_box box;
    struct lab_run run;
    ASSERT_INT(lie("mem", &flagged), 0);
    ASSERT_INT(flagged, 0);
    lab_open(&box, SECCOMP_DEFAULT);
    RUN_PREY(&box, &run, "lie", "mem", lab.prey, lab.prey);
    ASSERT_CONTAINS(buf_str(&run.out), "refused 13");
    lab_run_done(&run);
    lab_close(&box);
}

static void lie_tracer_pokes_arguments(void)
{
    unsigned flagged;
    ASSERT_INT(lie("poke", &flagged), 0);
    ASSERT_INT(flagged, TRIES);
    ASSERT_INT(lie("poke-detach", &flagged), 0);
    ASSERT_INT(flagged, TRIES);
}

/* Its code is gone before it runs: exe and argv are true, and mean nothing. */
static void lie_tracer_replaces_the_program(void)
{
    struct lab_box box;
    lab_open(&box, SECCOMP_DEFAULT);
    for (int i = 0; i < TRIES; i++) {
        struct lab_run run;
        RUN_PREY(&box, &run, "lie", "code", lab.prey_static, "");
        ASSERT_INT(run.status, 77 << 8);
        const struct process_record *p = lab_find(&run, lab.prey_static);
        CU_ASSERT(p == NULL || (p->flags & PROCESS_TRACED));
        CU_ASSERT(run.tally.ptrace > 0);
        unsigned seen = 0;
        for (p = run.records; p; p = p->next)
            seen += !p->is_exit && p->exe && strcmp(p->exe, lab.prey_static) == 0;
        ASSERT_INT(seen, 1);
        lab_run_done(&run);
    }
    lab_close(&box);
}

static void lie_program_without_a_file(void)
{
    unsigned flagged;
    ASSERT_INT(lie("memfd", &flagged), 0);
    ASSERT_INT(flagged, TRIES);
}

static void lie_undumpable_process_hides_nothing(void)
{
    unsigned flagged;
    ASSERT_INT(lie("undumpable", &flagged), 0);
}

/* A process that behaves like a new program while another thread starts one. */
static void lie_false_confirmation_hides_nothing(void)
{
    unsigned flagged;
    ASSERT_INT(lie("setfs", &flagged), 0);
    ASSERT_INT(lie("setfs-thread", &flagged), 0);
}

/* The path changes to that of a program that is never confirmed, but lives long enough to be looked at. */
static void lie_path_of_a_program_without_libc(void)
{
    struct lab_box box;
    char bare[256], other[256];
    unsigned ran = 0;
    lab_open(&box, SECCOMP_DEFAULT);
    copy_file(lab.bare, "bare-honest", "1", 0755);
    in_work("bare-honest", bare);
    in_work("bare-absent", other);
    for (int i = 0; i < 12; i++) {
        struct lab_run run;
        int pid;
        unsigned n;
        /* bare takes "say" for self with what follows as a count: it ends at once; so it is started by its late name */
        RUN_PREY(&box, &run, "lie", "path", other, bare);
        if (sscanf(buf_str(&run.out), "bare %d", &pid) == 1) {
            ran++;
            const struct process_record *p = lab_find_pid(&run, pid, NULL, &n);
            CU_ASSERT(p && (n == 2 || run.tally.counts.failed_execs > 0));
        }
        lab_run_done(&run);
    }
    printf("path of a program without libc: ran %u of 12\n", ran);
    lab_close(&box);
}

static void recorder_ignores_false_confirmations(void)
{
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    static const char *const kinds[] = {"missing", "e2big", "none"};
    for (int i = 0; i < 3; i++) {
        RUN_PREY(&box, &run, "setfs", kinds[i], i == 2 ? "200000" : "100", lab.prey);
        check_counts(&run);
        ASSERT_INT(run.status, 0);
        ASSERT_INT(total(&run, false), 1);
        ASSERT_INT(run.tally.counts.failed_execs, i < 2 ? 1 : 0);
        lab_run_done(&run);
    }
    lab_close(&box);
}

static void recorder_records_once_under_a_storm_of_signals(void)
{
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    RUN_PREY(&box, &run, "storm", "1000", "/bin/true");
    check_counts(&run);
    ASSERT_INT(lab_count(&run, "/usr/bin/true"), 1000);
    ASSERT_INT(total(&run, false), 1001);
    ASSERT_INT(total(&run, true), 1001);
    ASSERT_INT(run.tally.counts.failed_execs, 0);
    ASSERT_INT(run.tally.counts.changed, 0);
    lab_run_done(&run);
    lab_close(&box);
}

/* --- bounds --- */

static void recorder_counts_what_is_over_its_budget(void)
{
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_DEFAULT);
    RUN_PREY(&box, &run, "many", "20", "/bin/true");
    lab_run_done(&run);
    recorder_close_budget(box.recorder);
    RUN_PREY(&box, &run, "many", "20", "/bin/true");
    CU_ASSERT(run.all_ended && run.records == NULL);
    ASSERT_INT(run.tally.counts.execs, 21);
    ASSERT_INT(run.tally.counts.exits, 21);
    ASSERT_INT(run.tally.records_dropped, 42);
    lab_run_done(&run);
    lab_close(&box);
}

static void recorder_keeps_no_more_than_its_limit(void)
{
    enum { EXECS = LIMIT_PROCESS_RECORDS / 2 + 101 };
    struct lab_box box;
    struct lab_run run;
    char n[16];
    snprintf(n, sizeof(n), "%d", EXECS - 1);
    lab_open(&box, SECCOMP_DEFAULT);
    RUN_PREY(&box, &run, "many", n, lab.bare);
    CU_ASSERT(run.all_ended);
    ASSERT_INT(run.tally.counts.execs + run.tally.counts.failed_execs, EXECS);
    ASSERT_INT(run.tally.counts.exits, EXECS);
    ASSERT_INT(total(&run, false) + total(&run, true), LIMIT_PROCESS_RECORDS);
    ASSERT_INT(
        run.tally.records_dropped, run.tally.counts.execs + run.tally.counts.exits - LIMIT_PROCESS_RECORDS);
    lab_run_done(&run);
    lab_sh(&box, "true", 0, &run); /* of the run, not of one command */
    CU_ASSERT(run.records == NULL && run.tally.records_dropped > 0);
    lab_run_done(&run);
    lab_close(&box);
}

/* Start a command and leave its records where they are. */
static void start_untaken(
    struct lab_box *box, const char *const *argv, struct launch *launch, struct child *child)
{
    struct arp_err err = {0};
    struct exec_outcome outcome;
    static int null = -1;
    if (null < 0)
        null = open("/dev/null", O_RDWR | O_CLOEXEC);
    *launch =
        (struct launch){.argv = argv, .cwd_fd = lab.work_fd, .in_fd = null, .out_fd = null, .err_fd = null};
    CU_ASSERT_EQUAL_FATAL(reaper_prepare(child, &err), 0);
    recorder_begin(box->recorder, 7, launch, child);
    CU_ASSERT_EQUAL_FATAL(launcher_spawn(box->launcher, launch, &outcome, &err), 0);
    ASSERT_INT(outcome.stage, EXEC_STARTED);
}

static void recorder_holds_execs_until_records_are_taken(void)
{
    const char *argv[] = {lab.prey, "many", "1500", "/bin/true", NULL};
    struct lab_box box;
    struct launch launch;
    struct child child;
    struct recorder_tally tally;
    unsigned taken = 0;
    lab_open(&box, SECCOMP_DEFAULT);
    start_untaken(&box, argv, &launch, &child);
    CU_ASSERT(!reaper_wait(lab.reaper, &child, 4000)); /* 1500 take less than that when nothing holds them */
    int64_t until_ns = clock_mono_ns() + 60000000000ll;
    while (!recorder_wait_end(box.recorder, 50) && clock_mono_ns() < until_ns) {
        struct process_record *list = recorder_take(box.recorder);
        for (struct process_record *p = list; p; p = p->next)
            taken++;
        process_records_free(list);
    }
    recorder_finish(box.recorder, &tally);
    ASSERT_INT(taken, 2 * 1501);
    ASSERT_INT(tally.counts.execs, 1501);
    ASSERT_INT(tally.counts.exits, 1501);
    ASSERT_INT(tally.records_dropped, 0);
    reaper_forget(lab.reaper, &child);
    lab_close(&box);
}

/* Programs were met in time though the recorder, held up itself, takes their word later than it would wait for it. */
static void recorder_confirms_what_waited_for_it(void)
{
    const char *argv[] = {
        "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do $PREY many 150 /bin/true & done; wait", NULL};
    struct lab_box box;
    struct launch launch;
    struct child child;
    struct recorder_tally tally;
    lab_open(&box, SECCOMP_DEFAULT);
    start_untaken(&box, argv, &launch, &child);
    int64_t until_ns = clock_mono_ns() + 60000000000ll;
    while (!recorder_wait_end(box.recorder, 50) && clock_mono_ns() < until_ns) {
        usleep(3 * PROCTABLE_LATE_MS * 1000); /* the queue fills, and stays full */
        process_records_free(recorder_take(box.recorder));
    }
    recorder_finish(box.recorder, &tally);
    ASSERT_INT(tally.counts.execs, 1 + 8 + 8 * 150);
    ASSERT_INT(tally.counts.unconfirmed, 0);
    reaper_forget(lab.reaper, &child);
    lab_close(&box);
}

/* Nobody ever takes a record; the run ends all the same. */
static void recorder_ends_while_execs_are_held(void)
{
    const char *argv[] = {lab.prey, "many", "3000", "/bin/true", NULL};
    for (int i = 0; i < 2; i++) {
        struct lab_box box;
        struct launch launch;
        struct child child;
        struct recorder_tally tally;
        struct lab_run run;
        struct arp_err err;
        lab_open(&box, SECCOMP_DEFAULT);
        start_untaken(&box, argv, &launch, &child);
        CU_ASSERT(!reaper_wait(lab.reaper, &child, 3000));
        if (i == 1)
            recorder_finish(box.recorder, &tally); /* with the command still there */
        CU_ASSERT_EQUAL(tree_kill_wait(lab.ids.uid, 5000, &err), 0);
        CU_ASSERT(!recorder_wait_end(box.recorder, 10));
        if (i == 0)
            recorder_finish(box.recorder, &tally);
        reaper_forget(lab.reaper, &child);
        process_records_free(recorder_take(box.recorder));
        if (i == 1) { /* and it goes on with the next command */
            lab_sh(&box, "/bin/true; /bin/true", 1000, &run);
            ASSERT_INT(lab_count(&run, "/usr/bin/true"), 2);
            lab_run_done(&run);
        }
        lab_close(&box);
    }
}

/* --- refusals --- */

static void recorder_counts_refused_calls(void)
{
    struct lab_box box;
    struct lab_run run;
    lab_open(&box, SECCOMP_STRICT);
    lab_sh(&box,
        "unshare -U true; unshare -U true; mount -t tmpfs x /mnt; python3 -c 'import socket; "
        "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'; $PREY attack 1",
        1000, &run);
    ASSERT_INT(run.tally.denied[272], 2);                                                        /* unshare */
    CU_ASSERT(run.tally.denied[165] >= 1 || run.tally.denied[430] + run.tally.denied[428] >= 1); /* mount */
    ASSERT_INT(run.tally.denied[41], 1);                                                         /* socket */
    CU_ASSERT(run.tally.denied[101] >= 2);                                                       /* ptrace */
    ASSERT_INT(run.tally.ptrace, 0);
    lab_run_done(&run);
    lab_sh(&box, "true", 0, &run); /* of one command, not of the run */
    ASSERT_INT(run.tally.denied[272], 0);
    lab_run_done(&run);
    lab_close(&box);
}

/* It asks the agent to be its tracer, and stops: nobody would ever let it go on. */
static void recorder_and_reaper_survive_a_command_that_wants_to_be_traced(void)
{
    struct lab_box box;
    struct lab_run run;
    int64_t start = clock_mono_ns();
    lab_open(&box, SECCOMP_DEFAULT);
    RUN_PREY(&box, &run, "traceme");
    CU_ASSERT(WIFSIGNALED(run.status) || WIFEXITED(run.status));
    CU_ASSERT(clock_mono_ns() - start < 20000000000ll);
    ASSERT_INT(total(&run, true), 1);
    lab_run_done(&run);
    lab_sh(&box, "exit 3", 0, &run);
    ASSERT_INT(WEXITSTATUS(run.status), 3);
    lab_run_done(&run);
    lab_close(&box);
}

LAB_SUITE(recorder_test, TEST(recorder_records_a_command), TEST(recorder_sees_every_descendant_and_its_end),
    TEST(recorder_tells_the_end_of_what_is_killed), TEST(recorder_keeps_commands_apart),
    TEST(recorder_confirms_static_programs), TEST(recorder_records_programs_without_libc_as_unconfirmed),
    TEST(recorder_follows_a_program_that_executes_itself),
    TEST(recorder_records_a_program_that_unlinks_itself), TEST(recorder_takes_one_of_many_threads_execs),
    TEST(recorder_records_setuid_files_which_have_no_effect), TEST(recorder_flags_programs_it_may_not_read),
    TEST(recorder_flags_files_without_a_name), TEST(recorder_understands_execveat),
    TEST(recorder_keeps_strange_arguments), TEST(recorder_hashes_what_it_does_not_keep),
    TEST(recorder_follows_scripts), TEST(recorder_follows_a_script_on_a_descriptor),
    TEST(recorder_hashes_a_program_on_tmpfs_each_time), TEST(recorder_counts_failed_attempts),
    TEST(recorder_counts_a_search_of_many_directories), TEST(lie_sibling_flips_arguments),
    TEST(lie_sibling_flips_path), TEST(lie_process_on_the_same_memory_flips),
    TEST(lie_shared_mapping_is_flipped), TEST(lie_writer_of_proc_mem_is_refused),
    TEST(lie_tracer_pokes_arguments), TEST(lie_tracer_replaces_the_program), TEST(lie_program_without_a_file),
    TEST(lie_undumpable_process_hides_nothing), TEST(lie_false_confirmation_hides_nothing),
    TEST(lie_path_of_a_program_without_libc), TEST(recorder_ignores_false_confirmations),
    TEST(recorder_records_once_under_a_storm_of_signals), TEST(recorder_counts_what_is_over_its_budget),
    TEST(recorder_keeps_no_more_than_its_limit), TEST(recorder_holds_execs_until_records_are_taken),
    TEST(recorder_confirms_what_waited_for_it), TEST(recorder_ends_while_execs_are_held),
    TEST(recorder_counts_refused_calls), TEST(recorder_and_reaper_survive_a_command_that_wants_to_be_traced))
