/*
 * Have page 0 mapped and every page executable in what it executes: the personality that turns a null pointer of the kernel into
 * a way in.
 */
#include <sys/personality.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(personality(MMAP_PAGE_ZERO | READ_IMPLIES_EXEC), "has page 0");
}
