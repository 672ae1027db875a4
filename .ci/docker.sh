#!/bin/sh
# A container engine for a machine where none runs: start dockerd in the background, stop it only if we started it.
# usage: .ci/docker.sh start STATE_DIR | stop STATE_DIR | clean NETWORK LIST
#   clean removes what tests left at the engine that were killed: the network and the containers on it, and the containers and volumes of
#   the installations whose ids LIST holds, one a line.
#   STATE_DIR keeps dockerd.log and dockerd.pid (present only while an engine of ours runs). DOCKER_SOCKET as for the orchestrator.
# Idempotent. Needs root or passwordless sudo to start.
set -eu

socket=${DOCKER_SOCKET:-/var/run/docker.sock}
wait_s=60

die() {
    printf 'docker.sh: %s\n' "$*" >&2
    exit 1
}
answers() {
    [ -S "$socket" ] && curl --silent --fail --max-time 5 --unix-socket "$socket" http://engine/_ping >/dev/null 2>&1
}
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        die "must be root (or have passwordless sudo) to start or stop dockerd"
    fi
}
# Where nothing reaps orphans (a container whose PID 1 is no init) an ended process stays a zombie for ever.
lives() { grep -q '^State:[[:space:]]*[^Z[:space:]]' "/proc/$1/status" 2>/dev/null; }
# The pid in the file is believed only while it is a dockerd: pids are used again.
ours() {
    [ -s "$state/dockerd.pid" ] && pid=$(cat "$state/dockerd.pid") && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] && lives "$pid"
}

start() {
    if answers; then return 0; fi
    command -v dockerd >/dev/null || die "no engine answers on $socket and dockerd is missing (apt-get install docker.io)"
    mkdir -p "$state"
    rm -f "$state/dockerd.pid"
    # Its own session, so that Ctrl-C in the caller's terminal does not reach it; started as root it writes its own pid.
    # shellcheck disable=SC2016
    # Redirected by exec: a function's redirection leaves the shell a saved copy, and who reads our output would wait for dockerd's end.
    (exec </dev/null >/dev/null 2>&1; as_root setsid sh -c 'echo $$ >"$1/dockerd.pid"; exec dockerd --host "unix://$2" --pidfile "$1/dockerd.engine.pid" >"$1/dockerd.log" 2>&1' \
        sh "$state" "$socket") &
    waited=0
    until answers; do
        if [ $waited -ge $((wait_s * 5)) ] || { [ -s "$state/dockerd.pid" ] && ! lives "$(cat "$state/dockerd.pid")"; }; then
            tail -n 15 "$state/dockerd.log" >&2 || true
            rm -f "$state/dockerd.pid"
            die "dockerd did not come up (log: $state/dockerd.log)"
        fi
        waited=$((waited + 1))
        sleep 0.2
    done
}

stop() {
    if ! ours; then
        rm -f "$state/dockerd.pid"
        return 0
    fi
    as_root kill "$pid"
    waited=0
    while ours; do
        [ $waited -lt $((wait_s * 5)) ] || die "dockerd $pid does not stop"
        waited=$((waited + 1))
        sleep 0.2
    done
    rm -f "$state/dockerd.pid"
}

clean() { # NETWORK LIST
    answers || return 0
    docker ps -aq --filter network="$1" | xargs -r docker rm -f || true
    sort -u "$2" 2>/dev/null | while read -r id; do
        docker ps -aq --filter label=arp.instance="$id" | xargs -r docker rm -f || true
        docker volume ls -q --filter label=arp.instance="$id" | xargs -r docker volume rm -f || true
    done
    docker network rm "$1" 2>/dev/null || true
}

usage='usage: docker.sh start|stop STATE_DIR, docker.sh clean NETWORK LIST'
case $#:${1:-} in
2:start | 2:stop)
    case $2 in /*) state=$2 ;; *) state=$PWD/$2 ;; esac
    "$1"
    ;;
3:clean) clean "$2" "$3" >/dev/null ;;
*) die "$usage" ;;
esac
