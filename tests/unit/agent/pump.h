/*
 * Helpers of the agent's tests that start processes: they need root (another uid is part of what is tested) and a thread that reaps.
 * The uid is one of this process alone, so that tree kill hits nothing else on the machine, not even the same test in another tree.
 */
#ifndef ARP_TESTS_UNIT_AGENT_PUMP_H
#define ARP_TESTS_UNIT_AGENT_PUMP_H

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
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

#endif
