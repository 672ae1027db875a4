/*
 * Look for a capability it has already, in any of the sets.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    char line[256];
    unsigned long long bits = 0;
    int seen = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "CapInh: %llx", &bits) == 1 || sscanf(line, "CapPrm: %llx", &bits) == 1 ||
            sscanf(line, "CapEff: %llx", &bits) == 1 || sscanf(line, "CapAmb: %llx", &bits) == 1) {
            seen++;
            if (bits)
                escaped("%.60s", line);
        }
    }
    if (seen != 4)
        untried("%d sets in /proc/self/status", seen);
    contained("no capability in four sets");
}
