#!/bin/sh
set -eu
cd "$(mktemp -d)"
strace -f -o out sh -c 'cat /etc/hostname >/dev/null; (exit 3)' || [ $? -eq 3 ]
grep 'execve("/bin/sh"\|execve("/usr/bin/sh"' out
grep 'openat(.*"/etc/hostname"' out
grep 'exited with 3' out
strace -c -o count ls / >/dev/null
grep total count
sleep 20 &
timeout -s INT 1 strace -o attached -p $! 2>/dev/null || :
kill $!
grep -e nanosleep -e restart_syscall attached
