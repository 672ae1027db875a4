/*
 * Put a wider Landlock rule set on the one it has, then open what the one it has forbids.
 */
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    static const char file[] = "/proc/self/oom_score_adj";
    if (open(file, O_WRONLY | O_CLOEXEC) >= 0)
        untried("%s is not forbidden", file);
    struct landlock_ruleset_attr attr = {.handled_access_fs = LANDLOCK_ACCESS_FS_WRITE_FILE};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
    struct landlock_path_beneath_attr all = {
        .allowed_access = LANDLOCK_ACCESS_FS_WRITE_FILE, .parent_fd = open("/", O_PATH | O_CLOEXEC)};
    if (rules < 0 || syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &all, 0) < 0 ||
        syscall(SYS_landlock_restrict_self, rules, 0) < 0)
        untried("landlock: %s", strerrorname_np(errno));
    attempt_result(open(file, O_WRONLY | O_CLOEXEC), "may write again");
}
