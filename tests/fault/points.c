/*
 * Faults on demand, in place of orchestrator/run/fault.c: FAULT_KILL=<point> ends the process there by SIGKILL; FAULT_HOLD=<point> makes
 * the first thread that gets there create <FAULT_DIR>/reached and wait until <FAULT_DIR>/go is there, at most a minute.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "orchestrator/run/fault.h"

static bool is_set_to(const char *name, const char *point)
{
    const char *value = getenv(name);
    return value && strcmp(value, point) == 0;
}

static void hold(const char *dir)
{
    char reached[512];
    char go[512];
    snprintf(reached, sizeof(reached), "%s/reached", dir);
    snprintf(go, sizeof(go), "%s/go", dir);
    close(open(reached, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    for (int i = 0; i < 6000 && access(go, F_OK) != 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

void fault_reach(const char *point)
{
    static atomic_flag held = ATOMIC_FLAG_INIT;
    if (is_set_to("FAULT_KILL", point))
        kill(getpid(), SIGKILL);
    if (is_set_to("FAULT_HOLD", point) && !atomic_flag_test_and_set(&held))
        hold(getenv("FAULT_DIR"));
}
