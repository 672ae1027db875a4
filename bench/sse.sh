#!/bin/sh
# Many idle clients of one event stream: memory per client at the server, and whether an event reaches all of them. This server's
# HTTP part (bench/sse_server.c: orchestrator/http with one feed) beside Fastify, interleaved; after the word "run" also the real
# orchestrator with a real run in a container (needs the workspace image).
# usage: bench/sse.sh [run] [CLIENTS [EVENTS [INTERVAL_MS [ROUNDS]]]]       defaults: 1000 50 100 3
set -eu
cd "$(dirname "$0")/.."
real=
if [ "${1:-}" = run ]; then
    real=run
    shift
fi
clients=${1:-1000} events=${2:-50} interval=${3:-100} rounds=${4:-3}
# shellcheck source=bench/lib.sh
. bench/lib.sh
need node npm curl jq taskset psql
make --no-print-directory -f bench/bench.mk BUILD="$BUILD" bench | grep -v '^make' || true
# shellcheck disable=SC3045 # dash and bash have it
[ "$(ulimit -n)" -ge $((clients + 200)) ] || ulimit -n $((clients + 200))
peer_modules

# measure NAME PORT PATH KEY PID [start]: one line of results; a lost event is told, and fails the script at its end.
lost=0
measure() {
    name=$1 port=$2 path=$3 key_=$4 pid_=$5
    shift 5
    result=$(taskset -c "$LOAD_CPU" "$BUILD/bench/sse_load" "$port" "$path" "$key_" "$clients" "$pid_" "$@") || lost=1
    echo "$name ${result#result }" >>"$bench_dir/results"
}

round=0
while [ $round -lt "$rounds" ]; do
    port=$(free_port)
    PORT=$port EVENTS=$events INTERVAL_MS=$interval taskset -c "$SERVER_CPU" "$BUILD/bench/sse_server" &
    pid=$!
    pids="$pids $pid"
    wait_port "$port" $pid || die 'sse_server did not come up'
    measure feed "$port" /feed - $pid start
    kill $pid
    port=$(free_port)
    NODE_ENV=production PORT=$port EVENTS=$events INTERVAL_MS=$interval taskset -c "$SERVER_CPU" node bench/peers/fastify/sse.js &
    pid=$!
    pids="$pids $pid"
    wait_port "$port" $pid || die 'the Fastify peer did not come up'
    measure Fastify "$port" /feed - $pid start
    kill $pid
    round=$((round + 1))
done

if [ -n "$real" ]; then
    .ci/docker.sh start "$bench_dir/docker"
    docker image inspect "${WORKSPACE_IMAGE:-arp-workspace:v0.3}" >/dev/null 2>&1 || images/build.sh "${WORKSPACE_IMAGE:-arp-workspace:v0.3}"
    bench_postgres
    bench_orchestrator
    api() { curl -fsS -X "$1" -H "X-API-Key: $key" -H 'Content-Type: application/json' ${3:+--data "$3"} "http://127.0.0.1:$orchestrator_port$2"; }
    project=$(api POST /projects '{"name":"sse"}' | jq -r .id)
    round=0
    while [ $round -lt "$rounds" ]; do
        # Long enough to connect all; then a command every 20 ms or so, each with two events.
        commands=$(awk 'BEGIN { printf "[[\"sleep\",\"12\"]"; for (i = 0; i < 50; i++) printf ",[\"sleep\",\"0.02\"]"; print "]" }')
        api POST "/projects/$project/message" "{\"prompt\":\"bench\",\"commands\":$commands}" >"$bench_dir/message" &
        message=$!
        run=
        tries=0
        while [ -z "$run" ]; do
            tries=$((tries + 1))
            [ $tries -lt 300 ] || die 'the run did not start'
            sleep 0.1
            run=$(api GET "/projects/$project/runs?limit=1" | jq -r '.runs[0] | select(.status == "running") | .id')
        done
        measure orchestrator "$orchestrator_port" "/runs/$run/events" "$key" "$orchestrator"
        wait $message || die 'the run failed'
        round=$((round + 1))
    done
fi

machine
echo "$clients clients, $events events every $interval ms (the real run: about 100 events), $rounds rounds; medians"
printf '\n%-14s %8s %8s %13s %10s %13s %8s %8s %16s\n' server events lost 'bytes/client' 'RSS KiB' 'deliveries/s' 'p50 ms' 'p99 ms' 'CPU us/delivery'
value() { awk -v s="$1" -v c="$2" '$1 == s { print $c }' "$bench_dir/results" | median; }
largest() { awk -v s="$1" -v c="$2" '$1 == s && $c > n { n = $c } END { print n + 0 }' "$bench_dir/results"; }
for server in feed orchestrator Fastify; do
    grep -q "^$server " "$bench_dir/results" || continue
    printf '%-14s' $server
    # Memory: of the round that needed most; a server that served a crowd before has room for the next.
    {
        value $server 3
        largest $server 4
        largest $server 5
        for column in 10 6 7 8 9; do value $server $column; done
    } | xargs printf ' %8.0f %8.0f %13.0f %10.0f %13.0f %8.0f %8.0f %16.1f\n'
done
echo
for server in feed orchestrator; do
    grep -q "^$server " "$bench_dir/results" || continue
    echo "$(value $server 9) $(value $server 10) $(value Fastify 9) $(value Fastify 10)" |
        awk -v s=$server '{ printf "%s beside Fastify: deliveries per CPU-second x%.2f, resident memory with all clients 1/%.1f\n", s, $3 / $1, $4 / $2 }'
done
awk '{ lost += $4 } END { print lost + 0 " deliveries lost in all rounds; goal: 0, and 12288 bytes per client" }' "$bench_dir/results"
exit $lost
