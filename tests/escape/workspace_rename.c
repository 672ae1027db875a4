/*
 * Move its repository, for another one to stand in its place.
 */
#include <stdio.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(rename("/workspace/repo", "/workspace/repo2"), "moved it");
}
