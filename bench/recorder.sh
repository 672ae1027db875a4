#!/bin/sh
# What the recorder costs real work: each workload as one command, by the same uid in the same container: bare, in the sandbox without a recorder
# (launcher, Landlock, seccomp, capture), in the agent's sandbox with everything, and bare under `strace -f --seccomp-bpf -e trace=execve`.
# Rounds in turn; medians; ratios to bare of wall time and of CPU time (the command's with its descendants and the agent's own beside it).
# usage: bench/recorder.sh [ROUNDS [WORKLOAD...]]     default 5 and all: storm git configure build threads forks signals. Needs root.
# TOOLS_IMAGE: an image with git, gcc, make, strace and the source package zlib in /usr/src; default arp-tools:bookworm (images/tools.sh)
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=bench/lib.sh
. bench/lib.sh
# shellcheck source=bench/sandbox_stack.sh
. bench/sandbox_stack.sh
rounds=${1:-5}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- storm git configure build threads forks signals
need docker
.ci/docker.sh start "$bench_dir/docker"
image=${TOOLS_IMAGE:-arp-tools:bookworm}
[ -n "${TOOLS_IMAGE:-}" ] || images/tools.sh "$image" >/dev/null
sandbox_folder
samples=$bench_dir/samples
load=/opt/arp/bin/sandbox_load

# A fresh source tree of Debian's zlib. Cleared out and made again before each measurement, which does not count.
source='cd /tmp && rm -rf w && mkdir w && tar -xf /usr/src/zlib_*.orig.tar.bz2 -C w --strip-components 1'

mkfifo "$bench_dir/in"
exec 3<>"$bench_dir/in"

# workload NAME ROUNDS SETUP COMMAND: its samples go to the file.
workload() {
    sandbox_container=arp-bench-$$
    sandbox_run "$image" workload "$2" "$1" "$3" "$4 >/dev/null 2>&1" <"$bench_dir/in" >>"$samples" &
    running=$!
    root=0
    while kill -0 $running 2>/dev/null && [ "${root:-0}" -eq 0 ]; do
        sleep 0.2
        root=$(docker inspect --format '{{.State.Pid}}' "$sandbox_container" 2>/dev/null) || root=0
    done
    sleep 0.5 # its bare process
    case $1 in
    storm | git | threads | forks | signals) sandbox_real_time "$root" || echo 'no SCHED_RR: not allowed here' ;;
    *) sandbox_weight "$root" || echo 'no control group of its own: not allowed here' ;;
    esac
    echo go >&3
    wait $running
}

machine
for name in "$@"; do
    case $name in
    storm) workload storm "$rounds" : 'i=0; while [ $i -lt 400 ]; do /bin/true; i=$((i + 1)); done' ;;
    git) workload git "$rounds" 'rm -rf /tmp/g' 'exec >/dev/null 2>&1; git init /tmp/g && cd /tmp/g && i=0 && while [ $i -lt 15 ]; do
        seq $i 200 >f$i; git add . && git -c user.name=a -c user.email=a@b commit -m $i && git status && git diff HEAD; i=$((i + 1)); done; git gc' ;;
    configure) workload configure "$((rounds > 3 ? 3 : rounds))" "$source" 'cd /tmp/w && ./configure' ;;
    build) workload build "$((rounds > 3 ? 3 : rounds))" "($source && cd w && ./configure) >/dev/null 2>&1" 'cd /tmp/w && make' ;;
    threads) workload threads "$rounds" : "exec $load threads 5000" ;;
    forks) workload forks "$rounds" : "exec $load forks 1500" ;;
    signals) workload signals "$rounds" : "exec $load signals 200000" ;;
    *) die "no workload '$name'" ;;
    esac
done

medians "$samples" | awk '
    { m[$1] = $2; split($1, part, "."); if (!(part[1] in seen)) { seen[part[1]]; order[++n] = part[1] } }
    function ratio(w, form, what) { return m[w "." form "." what] / m[w ".bare." what] }
    END {
        printf "%-10s %8s %6s | wall to bare: %9s %9s %8s | CPU to bare: %9s %9s %8s\n", "workload", "bare ms", "execs", "sandbox", "recorder", "strace", "sandbox", "recorder", "strace"
        for (i = 1; i <= n; i++) {
            w = order[i]
            printf "%-10s %8.0f %6d |               %9.3f %9.3f %8.3f |              %9.3f %9.3f %8.3f\n", w, m[w ".bare.wall"] / 1000, m[w ".execs"],
                ratio(w, "captured", "wall"), ratio(w, "confirmed", "wall"), ratio(w, "strace", "wall"),
                ratio(w, "captured", "cpu"), ratio(w, "confirmed", "cpu"), ratio(w, "strace", "cpu")
            if (m[w ".unconfirmed"] > 0)
                printf "%-10s unconfirmed: %d\n", "", m[w ".unconfirmed"]
        }
        print "targets for recorder: storm 1.30, git 1.08, configure 1.05 (wall); build 1.01 (CPU); threads, forks, signals 1.05"
    }'
