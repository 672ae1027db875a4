/*
 * Read a file of root's that the image holds for this.
 */
#include <fcntl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(open("/escape-secret", O_RDONLY), "opened it");
}
