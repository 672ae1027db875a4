/*
 * Go into a namespace of its own: argv[1] says of which kind.
 */
#include "tests/escape/namespaces.h"

int main(int argc, char **argv)
{
    attempt_result(unshare(namespace_flag(argc, argv)), "has a namespace of its own");
}
