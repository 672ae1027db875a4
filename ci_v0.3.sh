#!/bin/sh
# Everything that must be true of this tree, on a machine that may have nothing installed: packages, build, unit tests, the real stack
# (Postgres, container engine, workspace image), all v0.1 + v0.2 + v0.3 suites, each row of the verification document. Fails fast, leaves
# nothing running, ends with "N passed, N failed". Needs root or sudo.
set -eu
cd "$(dirname "$0")"
[ "$(id -u)" -eq 0 ] || exec sudo -E "./$(basename "$0")" "$@"

work=$(mktemp -d /tmp/arp-ci.XXXXXX)
chmod 711 "$work"
# A network of this run's own, and a list that its stacks enter their installations in: what suites leave at the engine when they are killed is
# removed at the end by both, and nothing else.
ARP_TEST_NETWORK=arp-ci-$$
ARP_TEST_MADE=$work/installations
export ARP_TEST_NETWORK ARP_TEST_MADE
passed=0
failed=0
finished=0

cleanup() {
    .ci/docker.sh clean "$ARP_TEST_NETWORK" "$ARP_TEST_MADE" || true
    .ci/postgres.sh stop "$work/postgres" >/dev/null 2>&1 || true
    .ci/docker.sh stop "$work/docker" || true
    rm -rf "$work"
    [ $finished -eq 1 ] || failed=$((failed + 1))
    printf '%d passed, %d failed\n' $passed $failed
}
trap cleanup EXIT
trap 'exit 1' INT TERM

step() { printf '\n== %s (%s)\n' "$*" "$(date +%T)"; }
# Run a step whose last line counts tests, keep its output visible, add up. Any failure ends the script.
counted() {
    code=0
    "$@" >"$work/out" 2>&1 || code=$?
    grep -v '^  [A-Z]* *[a-z]' "$work/out" || true
    line=$(sed -n 's/^\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed$/\1 \2/p' "$work/out" | tail -n 1)
    if [ -n "$line" ]; then
        passed=$((passed + ${line% *}))
        failed=$((failed + ${line#* }))
    fi
    if [ $code -ne 0 ]; then
        [ -n "$line" ] && [ "${line#* }" -gt 0 ] && finished=1
        exit 1
    fi
}

# Run a step that counts nothing; its output shows only when it fails.
quiet() {
    "$@" >"$work/out" 2>&1 || {
        cat "$work/out"
        exit 1
    }
}

step 'packages'
.ci/packages.sh build run test

step 'build, unit tests, include directions, format'
counted make --no-print-directory -j "$(nproc)" check

step 'static analysis'
quiet make --no-print-directory -j "$(nproc)" analyze

step 'clang build'
quiet make --no-print-directory -j "$(nproc)" BUILD=build-clang CC=clang-14 all

step 'unit tests under AddressSanitizer and UBSan'
counted make --no-print-directory -j "$(nproc)" asan

step 'stack: Postgres, container engine, workspace image'
.ci/postgres.sh start "$work/postgres" >/dev/null
ARP_TEST_DATABASE_URL=$(cat "$work/postgres/url")
export ARP_TEST_DATABASE_URL
# No suite cuts the power, and a disk that is slow to sync would only make leases of 2 s expire.
quiet psql -q "$ARP_TEST_DATABASE_URL" -c 'ALTER SYSTEM SET fsync = off' -c 'SELECT pg_reload_conf()'
.ci/docker.sh start "$work/docker"
images/build.sh arp-workspace:v0.3
images/engine.sh codex
images/engine.sh opencode

step 'image of the tools suite (kept for the next time)'
quiet images/tools.sh

step 'suites: build'
quiet make --no-print-directory -j "$(nproc)" suites
export FAIL_FAST=1
for suite in integration/v0.1 integration/v0.2 integration/v0.3 tamper fault escape tools; do
    programs=$(find "build/tests/$suite" -name '*_test' -type f 2>/dev/null | sort)
    [ -n "$programs" ] || continue
    step "suite $suite"
    # shellcheck disable=SC2086
    counted tests/run.sh build $programs
done

step 'DevGuide_v0.3_verification.md: each row shown again'
counted tests/verification/verify_test.sh
counted tests/verification/verify.sh check

step 'suites against the sanitized orchestrator'
export ARP_BUILD=build-asan
# shellcheck disable=SC2046
counted tests/run.sh build $(find build/tests/integration -name '*_test' -type f | sort)

step 'done'
finished=1
