/*
 * Namespaces by name, for the attempts to make or enter one.
 */
#ifndef ARP_TESTS_ESCAPE_NAMESPACES_H
#define ARP_TESTS_ESCAPE_NAMESPACES_H

#include <sched.h>

#include "tests/escape/attempt.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

static inline int namespace_flag(int argc, char **argv)
{
    static const struct {
        const char *name;
        int flag;
    } all[] = {{"mount", CLONE_NEWNS}, {"cgroup", CLONE_NEWCGROUP}, {"uts", CLONE_NEWUTS},
        {"ipc", CLONE_NEWIPC}, {"user", CLONE_NEWUSER}, {"pid", CLONE_NEWPID}, {"net", CLONE_NEWNET},
        {"time", CLONE_NEWTIME}};
    for (size_t i = 0; argc > 1 && i < sizeof(all) / sizeof(all[0]); i++) {
        if (strcmp(argv[1], all[i].name) == 0)
            return all[i].flag;
    }
    untried("which namespace?");
}

#endif
