#!/bin/sh
# A whole run of `true` on a warm workspace beside `docker exec <its container> true` (bench/run_latency.c), on a durable private Postgres.
# usage: bench/run_latency.sh [ROUNDS]       default 40. Builds the workspace image when it is missing. Prints a ratio, asserts nothing.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=bench/lib.sh
. bench/lib.sh
make --no-print-directory -f bench/bench.mk BUILD="$BUILD" bench | grep -v '^make' || true
.ci/docker.sh start "$bench_dir/docker"
image=${WORKSPACE_IMAGE:-arp-workspace:v0.3}
docker image inspect "$image" >/dev/null 2>&1 || images/build.sh "$image"
bench_postgres
machine
ARP_TEST_DATABASE_URL=$DATABASE_URL ARP_TEST_IMAGE=$image ARP_BUILD=$BUILD "$BUILD/bench/run_latency" "${1:-40}"
