/*
 * Take the evidence for itself.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(chown("/workspace/evidence", 1000, 1000), "owns it");
}
