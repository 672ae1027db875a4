/*
 * Open any file for writing, or make one in any folder, of what a command should only read.
 */
#include "tests/escape/sweep.h"

int main(void)
{
    static const char *const roots[] = {
        "/etc", "/usr", "/opt", "/var", "/root", "/run", "/bin", "/lib", "/srv"};
    for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++)
        sweep(roots[i]);
    sweep_end(1000);
}
