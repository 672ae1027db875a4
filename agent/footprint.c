/*
 * Footprint: see footprint.h.
 */
#include "agent/footprint.h"

#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

void footprint_trim(void)
{
    char line[512];
    malloc_trim(0);
    FILE *f = fopen("/proc/self/maps", "re");
    while (f && fgets(line, sizeof(line), f)) {
        uintptr_t from, to;
        char perms[8];
        /* Private, executable, never writable, of a file: clean pages only. Data that was relocated is never in such a mapping. */
        if (sscanf(line, "%lx-%lx %7s", &from, &to, perms) == 3 && strcmp(perms, "r-xp") == 0 &&
            strchr(line, '/'))
            madvise((void *)from, to - from, MADV_DONTNEED);
    }
    if (f)
        fclose(f);
}
