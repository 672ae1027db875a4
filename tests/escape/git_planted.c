/*
 * Plant commands where git executes them: monitor, filter, diff, hook. They leave a mark in /tmp when somebody does.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/escape/attempt.h"

static void put(const char *path, const char *text, int flag, mode_t mode)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC | flag, mode);
    if (fd < 0 || write(fd, text, strlen(text)) < 0 || close(fd) < 0)
        untried("%s: %s", path, strerrorname_np(errno));
}

int main(void)
{
    static const char config[] =
        "\n[core]\n\tfsmonitor = /tmp/planted\n\thooksPath = /workspace/repo/hooks\n"
        "[filter \"x\"]\n\tclean = /tmp/planted\n\tsmudge = /tmp/planted\n"
        "[diff \"x\"]\n\ttextconv = /tmp/planted\n[diff]\n\texternal = /tmp/planted\n";
    put("/tmp/planted", "#!/bin/sh\n: >/tmp/escaped\ncat\n", O_TRUNC, 0755);
    put(".git/config", config, O_APPEND, 0644);
    put(".gitattributes", "* filter=x diff=x\n", O_TRUNC, 0644);
    put("filtered", "text\n", O_TRUNC, 0644);
    contained("planted them");
}
