/*
 * Open anything of the agent or the launcher under /proc for writing.
 */
#include "tests/escape/sweep.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d", (int)target_of(argc, argv));
    sweep(path);
    sweep_end(20);
}
