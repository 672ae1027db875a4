#!/bin/sh
set -eu
cd "$(mktemp -d)"
printf '#include <stdlib.h>\nint f(int x) { return x * 2; }\nint main(void) { int *p = NULL; if (f(21) == 42) *p = 1; return 0; }\n' >t.c
gcc -g -O0 -o t t.c
gdb -q -batch -ex 'break f' -ex run -ex bt -ex 'print x' -ex finish -ex continue -ex bt ./t >out 2>&1 || :
grep 'f (x=21)' out
grep 'Value returned is .* = 42' out
grep 'received signal SIGSEGV' out
