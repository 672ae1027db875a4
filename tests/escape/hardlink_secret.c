/*
 * Make a result of root's secret by a second name.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(link("/escape-secret", "results/secret"), "has a second name");
}
