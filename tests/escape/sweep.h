/*
 * A sweep: try to open every file below a folder for writing, in one attempt. Nothing is written.
 */
#ifndef ARP_TESTS_ESCAPE_SWEEP_H
#define ARP_TESTS_ESCAPE_SWEEP_H

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#include "tests/escape/attempt.h"

#define SWEEP_DIRS 32 /* open at a time */

static int sweep_tried;

/* O_NONBLOCK: no FIFO and no device may hold the attempt up. */
static inline int sweep_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)at;
    if (type == FTW_SL || type == FTW_SLN || type == FTW_NS)
        return 0;
    int flags = type == FTW_F ? O_WRONLY : O_TMPFILE | O_WRONLY;
    if (type == FTW_F && !S_ISREG(st->st_mode))
        return 0;
    sweep_tried++;
    int fd = open(path, flags | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0)
        escaped("%s can be written", path);
    return 0;
}

static inline void sweep(const char *root)
{
    nftw(root, sweep_file, SWEEP_DIRS, FTW_PHYS | FTW_MOUNT);
}

/* No file could be opened; fewer than that many tries mean that there was nothing to sweep. */
static inline _Noreturn void sweep_end(int least)
{
    if (sweep_tried < least)
        untried("only %d files", sweep_tried);
    contained("none of %d files can be written", sweep_tried);
}

#endif
