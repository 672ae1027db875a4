# What the bench scripts share: a private stack on loopback, CPU time and memory of processes, medians. Sourced, from the top of the tree.
# shellcheck shell=sh disable=SC2034 # variables are read by the scripts
#
# Servers are pinned to SERVER_CPU, the load and Postgres to LOAD_CPU, so that a server's CPU time holds only its own work and neither
# side starves the other. With a single CPU both are 0 and only the CPU-time ratios mean something.

SERVER_CPU=0
LOAD_CPU=$(($(nproc) > 1 ? 1 : 0))
BUILD=${BUILD:-build}
bench_dir=$(mktemp -d /tmp/arp-bench.XXXXXX)
chmod 711 "$bench_dir"
pids=

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

need() {
    for c in "$@"; do
        command -v "$c" >/dev/null || die "$c is missing: .ci/packages.sh build run bench"
    done
}

# Everything that was started is stopped, by the process id it was started under.
bench_stop() {
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    for pid in $pids; do wait "$pid" 2>/dev/null || true; done
    remove_workspaces
    if [ -n "${ARP_NETWORK:-}" ]; then docker network rm "$ARP_NETWORK" >/dev/null 2>&1 || true; fi
    .ci/postgres.sh stop "$bench_dir/postgres" || true
    .ci/docker.sh stop "$bench_dir/docker" || true
    rm -rf "$bench_dir"
}
trap bench_stop EXIT
trap 'exit 1' INT TERM HUP

# Containers and volumes of the orchestrator of this run of the script, by the label of its installation.
remove_workspaces() {
    [ -n "${installation:-}" ] || return 0
    docker ps -aq --filter "label=arp.instance=$installation" | xargs -r docker rm -f >/dev/null 2>&1 || true
    docker volume ls -q --filter "label=arp.instance=$installation" | xargs -r docker volume rm >/dev/null 2>&1 || true
}

bench_postgres() {
    taskset -c "$LOAD_CPU" .ci/postgres.sh start "$bench_dir/postgres" >/dev/null
    DATABASE_URL=$(cat "$bench_dir/postgres/url")
    export DATABASE_URL
    postgres=$(sql "SELECT pg_read_file('postmaster.pid')" | head -n 1)
}

sql() { psql -XAtq -v ON_ERROR_STOP=1 "$DATABASE_URL" -c "$1"; }

# A port nobody listens on now.
free_port() {
    node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'
}

# wait_port PORT PID: until it accepts connections; false when PID ended before.
wait_port() {
    tries=0
    until curl -s -o /dev/null --max-time 2 "http://127.0.0.1:$1/healthz"; do
        tries=$((tries + 1))
        kill -0 "$2" 2>/dev/null && [ $tries -lt 100 ] || return 1
        sleep 0.1
    done
}

# The orchestrator on SERVER_CPU, with a database, an admin key ($key) and its user ($user_id); sets $orchestrator, $orchestrator_port.
bench_orchestrator() {
    export ARP_STATE_DIR="$bench_dir/state" EVIDENCE_ROOT="$bench_dir/evidence" ARP_MIGRATIONS_DIR="$PWD/migrations" ARP_LOG_LEVEL=warn ARP_NETWORK=arp-bench-$$
    orchestrator_port=$(free_port)
    export ARP_LISTEN_PORT="$orchestrator_port"
    "$BUILD/arp-orchestrator" migrate >/dev/null
    admin=$("$BUILD/arp-orchestrator" create-admin)
    user_id=$(printf '%s' "$admin" | jq -r .userId)
    key=$(printf '%s' "$admin" | jq -r .apiKey)
    taskset -c "$SERVER_CPU" "$BUILD/arp-orchestrator" serve >"$bench_dir/orchestrator.log" 2>&1 &
    orchestrator=$!
    pids="$pids $orchestrator"
    wait_port "$orchestrator_port" "$orchestrator" || {
        cat "$bench_dir/orchestrator.log" >&2
        die 'the orchestrator did not come up'
    }
    installation=$(cat "$ARP_STATE_DIR/installation-id")
}

peer_modules() {
    [ -d bench/peers/fastify/node_modules ] || (cd bench/peers/fastify && npm ci --no-audit --no-fund --loglevel=error >/dev/null) ||
        die 'npm ci failed in bench/peers/fastify'
}

# bench_peer VAR=VALUE...: the Fastify peer on SERVER_CPU; sets $peer and $peer_port.
bench_peer() {
    peer_modules
    peer_port=$(free_port)
    env NODE_ENV=production PORT="$peer_port" "$@" taskset -c "$SERVER_CPU" node bench/peers/fastify/server.js >"$bench_dir/peer.log" 2>&1 &
    peer=$!
    pids="$pids $peer"
    wait_port "$peer_port" "$peer" || {
        cat "$bench_dir/peer.log" >&2
        die 'the Fastify peer did not come up'
    }
}

# A process, its children and theirs.
family() {
    for p in "$@"; do
        echo "$p"
        # shellcheck disable=SC2046 # a list
        family $(cat "/proc/$p/task/$p/children" 2>/dev/null)
    done
}

# Clock ticks of user and system time of the processes and their children, ended ones included.
cpu_ticks() {
    for p in $(family "$@"); do cat "/proc/$p/stat" 2>/dev/null || true; done |
        awk '{ sub(/.*\) /, ""); n += $12 + $13 + $14 + $15 } END { print n + 0 }'
}

# Resident KiB of a process and its forks: all of its own pages, and of its children those that nobody shares.
rss_kib() {
    {
        grep '^VmRSS:' "/proc/$1/status"
        for p in $(family "$1" | tail -n +2); do grep '^Private_' "/proc/$p/smaps_rollup" || true; done
    } | awk '{ n += $2 } END { print n + 0 }'
}

# Their proportional set size: a page of a library counts for each process of the machine in which it is mapped by its share.
pss_kib() {
    for p in $(family "$1"); do cat "/proc/$p/smaps_rollup" 2>/dev/null || true; done | awk '/^Pss:/ { n += $2 } END { print n + 0 }'
}

# Median of the numbers on standard input.
median() { sort -g | awk '{ v[NR] = $1 } END { if (NR == 0) print "nan"; else print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

TICKS_PER_S=$(getconf CLK_TCK)

machine() {
    printf '%s, %s CPUs (%s), kernel %s, load %s\n' "$(. /etc/os-release && echo "$PRETTY_NAME")" "$(nproc)" \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(uname -r)" "$(cut -d ' ' -f 1 /proc/loadavg)"
    printf 'Postgres %s, node %s\n' "$("$(find /usr/lib/postgresql/*/bin -name postgres | sort -V | tail -n 1)" --version | cut -d ' ' -f 3)" "$(node --version 2>/dev/null)"
}
