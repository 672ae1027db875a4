#!/bin/sh
# Run test programs one after another and add up their closing lines.
# usage: tests/run.sh BUILD PROGRAM...      FAIL_FAST=1 stops at the first program that fails
# Ends with "N passed, N failed"; exit code 0 only when nothing failed and something ran.
set -u
build=$1
shift
mkdir -p "$build/test-logs"
passed=0
failed=0
for program in "$@"; do
    log=$build/test-logs/$(printf '%s' "${program#"$build"/}" | tr / _).log
    "$program" >"$log" 2>&1
    code=$?
    line=$(sed -n 's/^\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed$/\1 \2/p' "$log" | tail -n 1)
    p=${line% *}
    f=${line#* }
    # A program that crashed or never counted is a failure whatever it printed.
    if [ -z "$line" ]; then p=0 f=1; elif [ $code -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
    passed=$((passed + p))
    failed=$((failed + f))
    if [ "$f" -ne 0 ]; then
        printf 'FAIL %s (exit %d), its output:\n' "$program" $code
        cat "$log"
        [ "${FAIL_FAST:-0}" = 1 ] && break
    else
        printf 'ok   %s (%d)\n' "${program#"$build"/tests/}" "$p"
    fi
done
printf '%d passed, %d failed\n' $passed $failed
[ $failed -eq 0 ] && [ $passed -gt 0 ]
