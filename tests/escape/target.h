/*
 * The two processes of ours that share the container with commands: the agent is PID 1, the launcher of the run is found by its real
 * uid (docs/AGENT.md). Where there is no launcher an attempt on it is UNTRIED, which fails the suite.
 */
#ifndef ARP_TESTS_ESCAPE_TARGET_H
#define ARP_TESTS_ESCAPE_TARGET_H

#include <dirent.h>
#include <stdbool.h>
#include <sys/types.h>

#include "tests/escape/attempt.h"

#define LAUNCHER_UID 1002u

static inline bool launcher_is(const char *pid)
{
    char path[64], line[256];
    unsigned real = 0;
    bool found = false;
    snprintf(path, sizeof(path), "/proc/%.16s/status", pid);
    FILE *f = fopen(path, "re");
    while (f && !found && fgets(line, sizeof(line), f))
        found = sscanf(line, "Uid: %u", &real) == 1 && real == LAUNCHER_UID;
    if (f)
        fclose(f);
    return found;
}

static inline pid_t launcher_find(void)
{
    pid_t pid = 0;
    DIR *d = opendir("/proc");
    for (struct dirent *e; d && !pid && (e = readdir(d));) {
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && launcher_is(e->d_name))
            pid = (pid_t)strtol(e->d_name, NULL, 10);
    }
    if (d)
        closedir(d);
    if (!pid)
        untried("no process of uid %u", LAUNCHER_UID);
    return pid;
}

/* "agent" or "launcher" as a process. */
static inline pid_t target_of(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "launcher") == 0)
        return launcher_find();
    if (argc > 1 && strcmp(argv[1], "agent") == 0)
        return 1;
    untried("which process? agent or launcher");
}

#endif
