/*
 * Look for what only the agent should know in its own environment.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    for (char **e = environ; *e; e++) {
        if (strstr(*e, "TOKEN") || strncmp(*e, "ARP_", 4) == 0)
            escaped("%.*s", (int)strcspn(*e, "="), *e);
    }
    contained("nothing of the agent's");
}
