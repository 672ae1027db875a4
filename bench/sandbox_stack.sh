# What the scripts about the sandbox share: a container with the agent's capabilities whose PID 1 is build/bench/sandbox_bench, and
# tables from its samples. Sourced after bench/lib.sh.
# shellcheck shell=sh disable=SC2034,SC2154 # variables are read by the scripts, or come from lib.sh

sandbox_container=

sandbox_stop() {
    [ -z "$sandbox_container" ] || docker rm -f -v "$sandbox_container" >/dev/null 2>&1 || true
    rmdir "/sys/fs/cgroup/cpu/arp-bench-$$" 2>/dev/null || true
    bench_stop
}
trap sandbox_stop EXIT

# The folder that stands in for the agent's: the same libraries, the benchmark as the program.
sandbox_folder() {
    make --no-print-directory -f bench/bench.mk BUILD="$BUILD" bench | grep -v '^make' || true
    mkdir "$bench_dir/program"
    cp "$BUILD/bench/sandbox_bench" "$bench_dir/program/arp-agent"
    cp "$BUILD/arp-sh" "$bench_dir/program/"
    images/agent-folder.sh "$bench_dir/arp" "$bench_dir/program"
    cp "$BUILD/bench/sandbox_load" "$bench_dir/arp/bin/"
}

# sandbox_run IMAGE ARG...: the container, with standard input. 230 processes: about 200 hostile ones beside those that are ours.
sandbox_run() {
    sandbox_image=$1
    shift
    sandbox_container=arp-bench-$$
    docker run --rm -i --name "$sandbox_container" --label arp.bench=sandbox --network none --pids-limit 230 \
        --cap-drop ALL --cap-add SETUID --cap-add SETGID --cap-add KILL --cap-add CHOWN --cap-add DAC_READ_SEARCH --cap-add SETPCAP \
        --security-opt no-new-privileges --security-opt seccomp=unconfined \
        -v /workspace -v "$bench_dir/arp:/opt/arp:ro" --entrypoint /opt/arp/bin/arp-agent "$sandbox_image" "$@"
}

# SCHED_RR for a process, its threads and its children, so that other work on this machine waits for them. It needs CAP_SYS_NICE, and where the
# kernel has real-time groups a way out of the container's, which has no real-time share.
sandbox_real_time() {
    for p in $(family "$1"); do
        echo "$p" >/sys/fs/cgroup/cpu/cgroup.procs 2>/dev/null || true
        chrt -a -r -p 1 "$p" 2>/dev/null || return 1
    done
}

# Nearly all of both CPUs for a process and its children, by a control group of great weight (cgroup v1). Unlike SCHED_RR, whose processes of one
# priority do not preempt one another, it leaves to the scheduler who of them runs first: for work of several processes.
sandbox_weight() {
    mkdir -p "/sys/fs/cgroup/cpu/arp-bench-$$" && echo 262144 >"/sys/fs/cgroup/cpu/arp-bench-$$/cpu.shares" || return 1
    for p in $(family "$1"); do echo "$p" >"/sys/fs/cgroup/cpu/arp-bench-$$/cgroup.procs" || return 1; done
} 2>/dev/null

# medians FILE: of lines "NAME VALUE", one "NAME MEDIAN" each.
medians() {
    sort -k1,1 -k2,2g "$1" | awk '
        $1 != name { flush(); name = $1; n = 0 }
        { v[++n] = $2 }
        function flush() { if (n) print name, n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2 }
        END { flush() }'
}
