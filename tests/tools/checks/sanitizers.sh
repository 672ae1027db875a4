#!/bin/sh
# AddressSanitizer, LeakSanitizer (which traces its own process from a thread), UBSan.
set -eu
cd "$(mktemp -d)"
printf '#include <stdlib.h>\nint main(void) { char *volatile p = malloc(10); free(p); return p[3]; }\n' >uaf.c
printf '#include <stdlib.h>\nvoid *volatile p;\nint main(void) { p = malloc(1234); p = 0; return 0; }\n' >leak.c
printf 'int main(int c, char **v) { (void)v; int x = 2147483647; x += c; return x == 0; }\n' >ub.c
for t in uaf leak; do gcc -g -O1 -fsanitize=address -o $t $t.c; done
gcc -g -fsanitize=undefined -fno-sanitize-recover=all -o ub ub.c
! ./uaf 2>out
grep heap-use-after-free out
! ./leak 2>out
grep '1234 byte(s) leaked' out
! ./ub 2>out
grep 'signed integer overflow' out
