#!/bin/sh
# The stack that DevGuide_v0.3_verification.md is shown on: the built programs with a Postgres, a network and a directory of their own.
# usage: tests/verification/stack.sh start DIR                    make it; DIR/env then holds URL, ADMIN (key), DATABASE_URL, EVIDENCE_ROOT
#        tests/verification/stack.sh restart DIR [NAME=VALUE...]  the orchestrator again, with these settings, on the same data and port
#        tests/verification/stack.sh stop DIR                     stop it, remove what it made at the engine; DIR stays
# VERIFY_IMAGE (arp-workspace:v0.3), VERIFY_NETWORK (arp-verify), VERIFY_MADE (file that its installation is entered in). Needs root, a running engine and the image.
set -eu
cd "$(dirname "$0")/../.."

die() {
    printf 'stack.sh: %s\n' "$*" >&2
    exit 1
}
[ $# -ge 2 ] || die 'usage: stack.sh start|restart|stop DIR [NAME=VALUE...]'
action=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd -P)
shift 2
program=build/arp-orchestrator
network=${VERIFY_NETWORK:-arp-verify}

lives() { grep -q '^State:[[:space:]]*[^Z[:space:]]' "/proc/$(cat "$dir/pid")/status" 2>/dev/null; }
# Its name, too, where the pid may be another's by now.
running() { [ -s "$dir/pid" ] && [ "$(cat "/proc/$(cat "$dir/pid")/comm" 2>/dev/null)" = arp-orchestrato ] && lives; }
halt() {
    if running; then kill "$(cat "$dir/pid")"; fi
    while running; do sleep 0.05; done
    rm -f "$dir/pid"
}
# run COMMAND [NAME=VALUE...]: the program with what it needs to know and nothing else, in place of this shell.
run() {
    command=$1
    shift
    exec env -i PATH="$PATH" DATABASE_URL="$(cat "$dir/postgres/url")" ARP_STATE_DIR="$dir/state" EVIDENCE_ROOT="$dir/evidence" ARP_MIGRATIONS_DIR="$PWD/migrations" \
        ARP_LISTEN_PORT="$(cat "$dir/port" 2>/dev/null || echo 0)" ARP_NETWORK="$network" WORKSPACE_IMAGE="${VERIFY_IMAGE:-arp-workspace:v0.3}" "$@" "$program" "$command"
}
# Start it and wait for its word that it listens.
serve() {
    : >"$dir/log"
    (run serve "$@") >"$dir/log" 2>&1 </dev/null &
    echo $! >"$dir/pid"
    tries=0
    until line=$(grep -F '"msg":"listening"' "$dir/log"); do
        tries=$((tries + 1))
        if [ $tries -gt 600 ] || ! lives; then
            cat "$dir/log" >&2
            die 'the orchestrator did not start'
        fi
        sleep 0.05
    done
    printf '%s\n' "$line" | jq -r .port >"$dir/port"
    printf '%s\n' "$line" | jq -r .installation | tee -a "${VERIFY_MADE:-/dev/null}" >"$dir/installation"
}

case $action in
start)
    chmod 711 "$dir"
    .ci/postgres.sh start "$dir/postgres" >/dev/null
    umask 077
    (run migrate) >"$dir/migrate.log" 2>&1 || { cat "$dir/migrate.log" >&2; die 'migrate failed'; }
    (run create-admin) >"$dir/admin.json"
    serve
    {
        printf 'URL=http://127.0.0.1:%s\nADMIN=%s\n' "$(cat "$dir/port")" "$(jq -r .apiKey "$dir/admin.json")"
        printf "DATABASE_URL='%s'\nEVIDENCE_ROOT='%s'\n" "$(cat "$dir/postgres/url")" "$dir/evidence"
    } >"$dir/env"
    ;;
restart)
    umask 077
    halt
    serve "$@"
    ;;
stop)
    halt
    if [ -s "$dir/installation" ]; then
        label=label=arp.instance=$(cat "$dir/installation")
        docker ps -aq --filter "$label" | xargs -r docker rm -f >/dev/null
        docker volume ls -q --filter "$label" | xargs -r docker volume rm >/dev/null
    fi
    docker network rm "$network" >/dev/null 2>&1 || true
    .ci/postgres.sh stop "$dir/postgres"
    ;;
*) die "unknown action '$action'" ;;
esac
