#!/bin/sh
# What one command costs: `true` bare (vfork, exec, wait), in the agent's sandbox with less and more recorded, beside `docker exec` and
# bwrap; speed of captured output; one tree kill of a container full of hostile processes; the idle agent. Rounds in turn, medians and
# ratios; asserts nothing about times.
# usage: bench/sandbox.sh [ROUNDS [COMMANDS]]       default 4 rounds of 100 commands. Needs root. Builds the workspace image when it is missing.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=bench/lib.sh
. bench/lib.sh
# shellcheck source=bench/sandbox_stack.sh
. bench/sandbox_stack.sh
rounds=${1:-4}
commands=${2:-100}
need chrt bwrap jq docker
.ci/docker.sh start "$bench_dir/docker"
image=${WORKSPACE_IMAGE:-arp-workspace:v0.3}
sandbox_folder
images/build.sh "$image" >/dev/null
samples=$bench_dir/samples

mkfifo "$bench_dir/in" "$bench_dir/out"
exec 3<>"$bench_dir/in" 4<>"$bench_dir/out"
# The function, not a subshell's copy of its variables: the name is needed to stop it.
sandbox_container=arp-bench-$$
sandbox_run "$image" serve <"$bench_dir/in" >"$bench_dir/out" &
pids="$pids $!"

# order TEXT [PREFIX]: its samples go to the file.
order() {
    echo "$1" >&3
    while read -r name value <&4 && [ "$name" != done ]; do echo "${2:-}$name $value" >>"$samples"; done
}

# The same with CPUs that never sleep: loops that run when nobody else wants to. To wake a virtual machine's idle CPU costs more than a system
# call, and the agent's command wakes one process more than the baseline.
order_awake() {
    spinners=
    for _ in $(seq "$(nproc)"); do
        chrt -i 0 sh -c 'while :; do :; done' &
        spinners="$spinners $!"
    done
    pids="$pids $spinners"
    order "$1" awake_
    # shellcheck disable=SC2086 # a list
    kill $spinners
}

# host NAME N COMMAND...: the same clock on this machine.
host() {
    host_name=$1
    shift
    "$BUILD/bench/sandbox_bench" time "$@" | sed "s/^/$host_name /" >>"$samples"
}

order 'commands 3'
: >"$samples"
root=$(docker inspect --format '{{.State.Pid}}' "$sandbox_container")
policy='SCHED_RR'
sandbox_real_time "$root" || policy='no SCHED_RR: not allowed here'
for round in $(seq "$rounds"); do
    order "commands $commands"
    order_awake "commands $commands"
    host docker_exec 5 docker exec "$sandbox_container" true
    host host_bare 20 true
    host bwrap 20 bwrap --bind / / true
    [ "$round" -gt 5 ] || order 'capture 512'
    sleep 0.5 # the others' turn
done
for _ in 1 2 3 4 5; do order kill; done

machine
medians "$samples" | awk -v policy="$policy" -v rounds="$rounds" -v commands="$commands" '
    { m[$1] = $2 }
    function row(name, key, base, target) {
        printf "%-52s %10.0f us %8.2f", name, m[key], m[key] / m[base]
        if ("awake_" key in m) printf "   awake %8.0f us %8.2f", m["awake_" key], m["awake_" key] / m["awake_" base]
        printf "  %s\n", target
    }
    END {
        printf "%s; %d rounds of %d; medians; ratio to vfork+exec+wait\n", policy, rounds, commands
        row("true: vfork+exec+wait, uid of commands", "bare", "bare", "")
        row("  hardened, captured, logged", "captured", "bare", "target 1.2")
        row("  and exec and exit recorded", "recorded", "bare", "target 1.4")
        row("  and confirmed: what the agent does", "confirmed", "bare", "target 1.5")
        row("  docker exec", "docker_exec", "bare", "")
        printf "%-52s %19.1f  target 60\n", "docker exec / confirmed", m["docker_exec"] / m["confirmed"]
        row("bwrap --bind / / true, on the host", "bwrap", "host_bare", "ratio to vfork+exec+wait there")
        printf "\ncapture, 512 MiB in blocks of 64 KiB: %.0f MiB/s; SHA-256 alone %.0f, ratio %.2f (target 0.85); | cat >/dev/null %.0f, ratio %.2f\n", m["captured_output"], m["sha256"], m["captured_output"] / m["sha256"], m["cat"], m["captured_output"] / m["cat"]
        printf "tree kill of %d processes, 20 of them forking for ever: signals %.1f ms, all gone %.1f ms\n", m["kill_processes"], m["kill_signal_ms"], m["kill_gone_ms"]
    }'
awk '$1 == "kill_survivors" { n += $2; k++ } END { printf "survivors of %d single passes: %d (target 0)\n", k, n }' "$samples"
docker rm -f -v "$sandbox_container" >/dev/null 2>&1 || true

# The idle agent: the real one, as the orchestrator starts it.
agent=$(docker run -d --label arp.bench=sandbox --cap-drop ALL --cap-add SETUID --cap-add SETGID --cap-add KILL --cap-add CHOWN \
    --cap-add DAC_READ_SEARCH --cap-add SETPCAP --security-opt no-new-privileges --security-opt seccomp=unconfined --network none \
    -e "ARP_AGENT_TOKEN=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')" "$image")
sandbox_container=$agent
sleep 10
root=$(docker inspect --format '{{.State.Pid}}' "$agent")
switches() { for p in $(family "$root"); do cat /proc/"$p"/task/*/status 2>/dev/null || true; done | awk '/ctxt_switches/ { n += $2 } END { print n + 0 }'; }
before=$(switches)
sleep 20
after=$(switches)
for p in $(family "$root"); do
    printf 'idle: %-24s RSS %5d KiB, PSS %5d KiB\n' "$(tr '\0' ' ' <"/proc/$p/cmdline")" "$(awk '/^VmRSS/ { print $2 }' "/proc/$p/status")" \
        "$(awk '/^Pss:/ { print $2 }' "/proc/$p/smaps_rollup")"
done
printf 'idle: %d context switches of all threads in 20 s (target 0); RSS target 8192 KiB\n' $((after - before))
