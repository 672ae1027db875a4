#!/bin/sh
# Run test programs, one a core at a time, and add up their closing lines. They don't meet: each has its own database, installation and folders.
# usage: tests/run.sh BUILD PROGRAM...      FAIL_FAST=1 starts no further one when one has failed
# Ends with "N passed, N failed"; exit code 0 only when nothing failed and something ran.
set -u
build=$1
shift
mkdir -p "$build/test-logs"
printf '%s\n' "$@" | xargs -n 1 -P "$(nproc)" tests/run_program.sh "$build" | {
    passed=0
    failed=0
    while read -r p f code program log; do
        passed=$((passed + p))
        failed=$((failed + f))
        if [ "$f" -ne 0 ]; then
            printf 'FAIL %s (exit %d), its output:\n' "$program" "$code"
            cat "$log"
        else
            printf 'ok   %s (%d)\n' "${program#"$build"/tests/}" "$p"
        fi
    done
    printf '%d passed, %d failed\n' $passed $failed
    [ $failed -eq 0 ] && [ $passed -gt 0 ]
}
