#!/bin/sh
# Run one test program for tests/run.sh: its output goes to a log, one line tells what became of it.
# usage: tests/run_program.sh BUILD PROGRAM      prints "PASSED FAILED EXIT-CODE PROGRAM LOG"
# Exit code 0, or 255 (no further program: xargs) when it failed and FAIL_FAST is 1.
set -u
log=$1/test-logs/$(printf '%s' "${2#"$1"/}" | tr / _).log
"$2" >"$log" 2>&1 </dev/null
code=$?
line=$(sed -n 's/^\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed$/\1 \2/p' "$log" | tail -n 1)
# A program that crashed or never counted is a failure whatever it printed.
if [ -z "$line" ]; then line='0 1'; elif [ $code -ne 0 ] && [ "${line#* }" -eq 0 ]; then line="${line% *} 1"; fi
printf '%s %d %s %s\n' "$line" $code "$2" "$log"
[ "${line#* }" -eq 0 ] || [ "${FAIL_FAST:-0}" != 1 ] || exit 255
