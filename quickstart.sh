#!/bin/sh
# From a fresh Debian 12 machine to one real, sealed, verified run. Safe to run again: what is there is used, what is missing is made.
# usage: ./quickstart.sh          install, build, start everything, run once, print where the evidence is and what arpctl says of it
#        ./quickstart.sh stop     stop what it started (orchestrator, Postgres, dockerd); data stays in .arp/
# ARP_LISTEN_PORT (8080) and all other variables of docs/CONFIG.md are passed on. Needs root or sudo.
set -eu
cd "$(dirname "$0")"
[ "$(id -u)" -eq 0 ] || exec sudo -E "./$(basename "$0")" "$@"

home=$PWD/.arp
port=${ARP_LISTEN_PORT:-8080}
url=http://127.0.0.1:$port

step() { printf '\n== %s\n' "$*"; }
die() {
    printf 'quickstart: %s\n' "$*" >&2
    exit 1
}
# The pid in the file is believed only while it is our program: pids are used again. Where nothing reaps orphans (a container whose PID 1
# is no init) an ended one stays a zombie for ever.
running() {
    [ -s "$home/orchestrator.pid" ] && pid=$(cat "$home/orchestrator.pid") &&
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = arp-orchestrato ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$pid/status" 2>/dev/null
}
stop_orchestrator() {
    running || return 0
    kill "$pid"
    while running; do sleep 0.1; done
    rm -f "$home/orchestrator.pid"
}

if [ "${1:-}" = stop ]; then
    stop_orchestrator
    # Warm workspaces outlive a restart of the orchestrator; here they become cold: the volumes stay.
    if [ -s "$home/state/installation-id" ]; then
        docker ps -aq --filter "label=arp.instance=$(cat "$home/state/installation-id")" | xargs -r docker rm -f >/dev/null
    fi
    .ci/postgres.sh stop "$home/postgres"
    .ci/docker.sh stop "$home/docker"
    echo 'stopped; data stays in .arp/'
    exit 0
fi
[ $# -eq 0 ] || die "usage: ./quickstart.sh [stop]"

# Secrets and keys live under .arp: nobody else reads it. Postgres runs as its own user and must be able to pass through.
mkdir -p "$home"
chmod 711 "$home"

step 'packages'
.ci/packages.sh build run

step 'build'
make --no-print-directory -j "$(nproc)" all

step 'servers: Postgres (private, .arp/postgres) and the container engine'
.ci/postgres.sh start "$home/postgres" >/dev/null
.ci/docker.sh start "$home/docker"
DATABASE_URL=$(cat "$home/postgres/url")
export DATABASE_URL

step 'workspace image'
images/build.sh arp-workspace:v0.3

step 'orchestrator'
# What is made from here on (logs, keys, evidence) is root's alone; .arp can be passed through.
umask 077
# Keys of model providers are stored under this one; without it they could not be opened again.
if [ ! -s "$home/secrets.key" ]; then od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n' >"$home/secrets.key.new" && mv "$home/secrets.key.new" "$home/secrets.key"; fi
export ARP_SECRETS_KEY_FILE="$home/secrets.key"
export ARP_LISTEN_PORT="$port" ARP_STATE_DIR="$home/state" EVIDENCE_ROOT="$home/evidence" ARP_MIGRATIONS_DIR="$PWD/migrations"
build/arp-orchestrator migrate
# A running one that was built before is replaced by the new build.
if running && [ "$(stat -L -c %i "/proc/$pid/exe")" != "$(stat -c %i build/arp-orchestrator)" ]; then stop_orchestrator; fi
if ! running; then
    setsid build/arp-orchestrator serve >>"$home/orchestrator.log" 2>&1 </dev/null &
    echo $! >"$home/orchestrator.pid"
fi
tries=0
until curl -fsS --max-time 5 "$url/readyz" >/dev/null 2>&1; do
    tries=$((tries + 1))
    running && [ $tries -lt 150 ] || {
        tail -n 5 "$home/orchestrator.log" >&2
        die "the orchestrator did not come up (log: .arp/orchestrator.log)"
    }
    sleep 0.2
done
echo "answers on $url (log: .arp/orchestrator.log)"

step 'user and project'
if [ ! -s "$home/admin.json" ]; then build/arp-orchestrator create-admin >"$home/admin.json.new" && mv "$home/admin.json.new" "$home/admin.json"; fi
api() { # api KEY METHOD PATH [JSON]
    # The key by standard input: everybody can read a process's arguments.
    printf 'X-API-Key: %s\n' "$1" | curl -fsS -X "$2" -H @- ${4:+-H 'Content-Type: application/json' --data "$4"} "$url$3"
}
if [ ! -s "$home/user.json" ]; then
    api "$(jq -r .apiKey "$home/admin.json")" POST /users '{"name":"quickstart"}' >"$home/user.json.new" && mv "$home/user.json.new" "$home/user.json"
fi
ARP_API_KEY=$(jq -r .apiKey.key "$home/user.json")
ARP_URL=$url
export ARP_API_KEY ARP_URL
if [ ! -s "$home/project.json" ]; then
    api "$ARP_API_KEY" POST /projects '{"name":"quickstart"}' >"$home/project.json.new" && mv "$home/project.json.new" "$home/project.json"
fi
project=$(jq -r .id "$home/project.json")
echo "user $(jq -r .id "$home/user.json"), project $project (API key: jq -r .apiKey.key .arp/user.json)"

step 'one run in a real container'
build/arpctl run --project "$project" -- sh -c 'date >> results/log.txt; echo "hello from $(id -un)"; git status --short' >"$home/last-run.txt" 2>&1 ||
    { cat "$home/last-run.txt"; die 'the run failed'; }
cat "$home/last-run.txt"
run=$(sed -n 's/^run //p' "$home/last-run.txt")

step 'result'
api "$ARP_API_KEY" GET "/runs/$run" | jq '{id, status, gitCommit, imageName, imageDigest, finalText, diff}'

step 'evidence'
build/arpctl keys -o "$home/arp-keys.json"
build/arpctl evidence -o "$home/$run.zip" "$run"
echo "evidence: .arp/$run.zip"
build/arpctl verify --keyring "$home/arp-keys.json" "$home/$run.zip"
