/*
 * Raise its own limits: argv[1] says which.
 */
#include <sys/resource.h>

#include "tests/escape/attempt.h"

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        __rlimit_resource_t what;
    } all[] = {{"fsize", RLIMIT_FSIZE}, {"nofile", RLIMIT_NOFILE}, {"core", RLIMIT_CORE}};
    for (size_t i = 0; argc > 1 && i < sizeof(all) / sizeof(all[0]); i++) {
        struct rlimit now;
        if (strcmp(argv[1], all[i].name) != 0)
            continue;
        if (getrlimit(all[i].what, &now) < 0 || now.rlim_max == RLIM_INFINITY)
            escaped("there is no limit");
        now.rlim_max++;
        attempt_result(setrlimit(all[i].what, &now), "raised it");
    }
    untried("which limit?");
}
