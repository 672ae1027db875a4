#!/bin/sh
# A model call through relay and gateway beside the direct way, on the loopback (bench/gateway_load.c): time to the first byte, alone
# (idle) and while many streams are held (busy), and the gateway's memory then. Goals: 3 ms more at the median; 200 streams with flat memory.
# usage: bench/gateway.sh [CALLS [STREAMS [SECONDS]]]       defaults: 500 200 20
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=bench/lib.sh
. bench/lib.sh
make --no-print-directory -f bench/bench.mk BUILD="$BUILD" "$BUILD/bench/gateway_load" | grep -v '^make' || true
# shellcheck disable=SC3045 # dash and bash have it
[ "$(ulimit -n)" -ge 2048 ] || ulimit -n 2048
printf '%s, %s CPUs, kernel %s, load %s\n' "$(. /etc/os-release && echo "$PRETTY_NAME")" "$(nproc)" "$(uname -r)" "$(cut -d ' ' -f 1 /proc/loadavg)"
"$BUILD/bench/gateway_load" "${1:-500}" "${2:-200}" "${3:-20}" >"$bench_dir/results"
awk '
$1 == "ttfb" && $3 != "added" { printf "first byte, %s, %-7s  p50 %.2f ms  p99 %.2f ms\n", $2, $3, $4 / 1000, $5 / 1000 }
$1 == "ttfb" && $3 == "added" { printf "first byte, %s, added    p50 %.2f ms (goal: 3)\n", $2, $4 / 1000 }
$1 == "held" { printf "%d streams held: gateway RSS %d KiB before, %d at their begin, %d at the end (%.1f KiB per stream); %d events/s, %.1f %% of a CPU\n",
    $2, $3, $4, $5, ($4 - $3) / $2, $6, $7 }' "$bench_dir/results"
