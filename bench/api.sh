#!/bin/sh
# Small API calls: this orchestrator, the stack it was first written on (Fastify + pg, bench/peers/fastify) and pgbench with the same
# statement as the limit, interleaved, on one database. Prints medians and ratios; asserts nothing about times.
# usage: bench/api.sh [ROUNDS [SECONDS]]        defaults: 5 rounds of 4 s per server and route; 32 keep-alive connections, 1 thread
# Needs the packages of .ci/packages.sh, nodejs (18 or later) and npm, and a container engine (the orchestrator's start asks it what is warm).
# CONNECTIONS, and every variable of docs/CONFIG.md for the orchestrator, may be set.
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-5}
seconds=${2:-4}
connections=${CONNECTIONS:-32}
# shellcheck source=bench/lib.sh
. bench/lib.sh
need wrk node npm jq curl taskset psql
pgbench=$(command -v pgbench || find /usr/lib/postgresql/*/bin -name pgbench | sort -V | tail -n 1)

make --no-print-directory BUILD="$BUILD" all | grep -v '^make' || true
.ci/docker.sh start "$bench_dir/docker"
bench_postgres
bench_orchestrator
bench_peer KEY_CACHE_SECONDS=10
cached=$peer cached_port=$peer_port
bench_peer KEY_CACHE_SECONDS=0
queried=$peer queried_port=$peer_port

# One finished run of ordinary size, under a project made through the API.
project=$(curl -fsS -H "X-API-Key: $key" -H 'Content-Type: application/json' -d '{"name":"bench"}' "http://127.0.0.1:$orchestrator_port/projects")
run=$(sql "INSERT INTO runs (user_id, project_id, workspace_id, status, streaming, prompt, engine, run_context, git_commit, image_name, image_digest,
    env_snapshot, final_text, diff, lease_epoch, started_at, finished_at)
  VALUES ('$user_id', '$(echo "$project" | jq -r .id)', '$(echo "$project" | jq -r .workspaceId)', 'succeeded', false, repeat('make check ', 10), 'shell',
    '{\"engine\":\"shell\",\"sandboxProfile\":\"default\",\"timeoutMs\":900000,\"commands\":[{\"argv\":[\"make\",\"check\"],\"shell\":false}]}',
    repeat('0123456789', 4), 'arp-workspace:v0.3', 'sha256:' || repeat('0123456789abcdef', 4),
    '{\"git\":{\"commit\":\"0123456789012345678901234567890123456789\",\"branch\":\"main\",\"dirty\":false,\"detached\":false},\"evidence\":{\"events\":\"events.jsonl\"}}',
    repeat('ok ', 40), repeat('+a line' || chr(10), 30), 1, now(), now()) RETURNING id")

# The answers must be the same things, or the comparison is none.
for port in "$orchestrator_port" "$cached_port" "$queried_port"; do
    curl -fsS -H "X-API-Key: $key" "http://127.0.0.1:$port/runs/$run" | jq -Sc 'del(.createdAt, .startedAt, .finishedAt)' >"$bench_dir/answer.$port"
    cmp -s "$bench_dir/answer.$orchestrator_port" "$bench_dir/answer.$port" || die "the servers' answers to GET /runs/:id differ"
done

# The same statements as the servers', by key.
cat >"$bench_dir/GET.sql" <<SQL
SELECT r.*, coalesce(b.status = 'ready', false) FROM runs r LEFT JOIN evidence_bundles b ON b.run_id = r.id WHERE r.user_id = '$user_id' AND r.id = '$run';
SQL
cat >"$bench_dir/POST.sql" <<SQL
WITH p AS (INSERT INTO projects (user_id, name, repo_url) VALUES ('$user_id', gen_random_uuid()::text, NULL) RETURNING *), w AS (INSERT INTO workspaces (user_id, project_id) SELECT user_id, id FROM p RETURNING id) SELECT p.*, w.id FROM p, w;
SQL

# Load one server once: prints "requests/s p50_ms p99_ms cpu_us pg_cpu_us rss_kib pss_kib".
load() { # load METHOD PATH PORT PID TAG
    before=$(cpu_ticks "$4") pg_before=$(cpu_ticks "$postgres")
    result=$(taskset -c "$LOAD_CPU" wrk -t 1 -c "$connections" -d "$seconds" -s bench/wrk.lua "http://127.0.0.1:$3$2" -- "$key" "$1" "$5" | sed -n 's/^result //p')
    after=$(cpu_ticks "$4") pg_after=$(cpu_ticks "$postgres")
    # shellcheck disable=SC2086 # numbers
    set -- $result $((after - before)) $((pg_after - pg_before)) "$(rss_kib "$4")" "$(pss_kib "$4")"
    [ "$5" -eq 0 ] || die "$5 requests failed"
    echo "$@" | awk -v hz="$TICKS_PER_S" '{ us = 1e6 / hz / $1; printf "%.1f %s %s %.2f %.2f %d %d\n", $1 / $2, $3, $4, $6 * us, $7 * us, $8, $9 }'
}
limit() { # limit METHOD: pgbench in the servers' place
    pg_before=$(cpu_ticks "$postgres")
    # shellcheck disable=SC2016 # expanded by the inner shell, whose second line of `times` is pgbench's
    taskset -c "$SERVER_CPU" sh -c '"$1" -n -M prepared -c 8 -j 1 -T "$2" -f "$3" "$4" || exit; times' sh \
        "$pgbench" "$seconds" "$bench_dir/$1.sql" "$DATABASE_URL" >"$bench_dir/pgbench.out" 2>&1 || {
        cat "$bench_dir/pgbench.out" >&2
        die 'pgbench failed'
    }
    pg_after=$(cpu_ticks "$postgres")
    cpu_s=$(tail -n 1 "$bench_dir/pgbench.out" | awk -F '[ms ]+' '{ print $1 * 60 + $2 + $3 * 60 + $4 }')
    awk -v hz="$TICKS_PER_S" -v cpu="$cpu_s" -v pg=$((pg_after - pg_before)) '/actually processed/ { n = $NF } /latency average/ { ms = $4 } /^tps/ { tps = $3 }
        END { printf "%.1f %s nan %.2f %.2f nan nan\n", tps, ms, cpu * 1e6 / n, pg * 1e6 / hz / n }' "$bench_dir/pgbench.out"
}

round=0
while [ $round -le "$rounds" ]; do
    for method in GET POST; do
        path=/projects
        [ $method = POST ] || path=/runs/$run
        for server in arp cached queried limit; do
            case $server in
            arp) r=$(load $method "$path" "$orchestrator_port" "$orchestrator" "arp-$round") ;;
            cached) r=$(load $method "$path" "$cached_port" "$cached" "cached-$round") ;;
            queried) r=$(load $method "$path" "$queried_port" "$queried" "queried-$round") ;;
            limit) r=$(limit $method) ;;
            esac
            # The first round warms up: connections, prepared statements, node's compiler.
            [ $round -eq 0 ] || echo "$method $server $r" >>"$bench_dir/results"
        done
    done
    round=$((round + 1))
done

# value METHOD SERVER COLUMN: the median
value() { awk -v m="$1" -v s="$2" -v c="$3" '$1 == m && $2 == s { print $c }' "$bench_dir/results" | median; }

echo
machine
echo "$rounds rounds of $seconds s, $connections connections; medians. CPU: microseconds per request of the server alone, PG: of Postgres beside it."
echo 'Fastify twice: the key cached for 10 s as this orchestrator does, and asked of the database at every request.'
printf '\n%-5s %-16s %10s %8s %8s %8s %8s %8s %8s\n' route server 'requests/s' 'p50 ms' 'p99 ms' 'CPU us' 'PG us' 'RSS KiB' 'PSS KiB'
for method in GET POST; do
    for server in arp cached queried limit; do
        case $server in arp) name=orchestrator ;; cached) name='Fastify, cached' ;; queried) name='Fastify, queried' ;; limit) name=pgbench ;; esac
        printf '%-5s %-16s' $method "$name"
        for column in 3 4 5 6 7 8 9; do value $method $server $column; done | xargs printf ' %10.0f %8.2f %8.2f %8.1f %8.1f %8.0f %8.0f\n'
    done
done
echo
ratio() { # ratio METHOD SERVER: the orchestrator beside SERVER
    echo "$(value "$1" "$2" 3) $(value "$1" "$2" 6) $(value "$1" "$2" 8) $(value "$1" "$2" 9) $(value "$1" arp 3) $(value "$1" arp 6) $(value "$1" arp 8) $(value "$1" arp 9)" |
        awk -v m="$1" -v s="$3" '{ printf "%-4s beside %-17s requests per CPU-second x%.2f, requests/s x%.2f", m, s ":", $2 / $6, $5 / $1
            if (s != "pgbench") printf ", RSS 1/%.1f, PSS 1/%.1f", $3 / $7, $4 / $8
            print "" }'
}
for method in GET POST; do
    ratio $method cached 'Fastify, cached'
    ratio $method queried 'Fastify, queried'
    ratio $method limit pgbench
done
echo 'goal: x2.5 per CPU-second and 1/8 of the memory of Fastify'
