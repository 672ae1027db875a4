/*
 * A terminal of one's own: commands have none, but /dev/ptmx gives one, and opening its slave makes it the controlling terminal of a
 * session leader.
 */
#ifndef ARP_TESTS_ESCAPE_TERMINAL_H
#define ARP_TESTS_ESCAPE_TERMINAL_H

#include <fcntl.h>
#include <sys/ioctl.h>

#include "tests/escape/attempt.h"

static inline int terminal_open(void)
{
    char name[64];
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || unlockpt(master) < 0 || ptsname_r(master, name, sizeof(name)) != 0)
        untried("no terminal: %s", strerrorname_np(errno));
    int slave = open(name, O_RDWR);
    if (slave < 0)
        untried("no terminal: %s", strerrorname_np(errno));
    return slave;
}

#endif
