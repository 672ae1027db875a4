/*
 * Helpers of the agent's tests that start processes: they need root (another uid is part of what is tested) and a thread that reaps.
 * The uid is one of this process alone, so that tree kill hits nothing else on the machine, not even the same test in another tree.
 */
#ifndef ARP_TESTS_UNIT_AGENT_PUMP_H
#define ARP_TESTS_UNIT_AGENT_PUMP_H

#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/reaper.h"

static uid_t pump_uid __attribute__((unused)); /* from pump_start on */
#define TEST_UID pump_uid

__attribute__((unused)) static void *pump_main(void *arg)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (;;) {
        struct timespec tick = {.tv_nsec = 20000000};
        sigtimedwait(&set, NULL, &tick);
        reaper_collect(arg);
    }
    return NULL;
}

/* A reaper with its thread; the process becomes the parent of orphans. Without root: fails the program, loudly. */
static inline struct reaper *pump_start(void)
{
    if (geteuid() != 0) {
        printf("these tests need root\n");
        return NULL;
    }
    pump_uid = 1000000u + (uid_t)getpid();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    struct reaper *r = reaper_new();
    pthread_t t;
    return r && pthread_create(&t, NULL, pump_main, r) == 0 ? r : NULL;
}

/* A fresh directory every uid may enter; removed by the tests' end with temp_remove. */
static inline void temp_make(char ret[64])
{
    snprintf(ret, 64, "/tmp/arp-test-XXXXXX");
    if (!mkdtemp(ret) || chmod(ret, 0755) != 0)
        abort();
}

__attribute__((unused)) static int remove_one(
    const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

/* Without a child process: the pump would take its status away from system(3). */
static inline void temp_remove(const char *path)
{
    /* A process that was just killed may still be closing a file here: once more is enough. */
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 &&
        nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        perror(path);
}

#endif
