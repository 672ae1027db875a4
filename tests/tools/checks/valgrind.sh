#!/bin/sh
set -eu
cd "$(mktemp -d)"
printf '#include <stdlib.h>\nint main(int c, char **v) { (void)v; char *p = malloc(10); if (c > 1) free(p); return 0; }\n' >t.c
gcc -g -O0 -o t t.c
valgrind -q --leak-check=full --error-exitcode=9 ./t free
! valgrind -q --leak-check=full --error-exitcode=9 ./t >out 2>&1
grep '10 bytes in 1 blocks are definitely lost' out
