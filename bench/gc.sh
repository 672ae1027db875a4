#!/bin/sh
# Retention: what 1000 expired evidence bundles cost at 1 k, 10 k and 100 k rows in the table, and what requests feel of a backlog. Two cases,
# interleaved: 1000 expired rows beside that many young ones, and a table in which all is expired. Each bundle has its file. Prints medians and ratios, of
# the time that passed and of the CPU time that server and Postgres took, which a busy machine does not stretch: it fails when 10 k or 100 k
# rows cost over 1.3 times the CPU time of 1 k.
# usage: bench/gc.sh [ROUNDS]        default: 3
# Needs the packages of .ci/packages.sh and a container engine (a pass asks it what it has).
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-3}
# shellcheck source=bench/lib.sh
. bench/lib.sh
need jq curl psql taskset

make --no-print-directory BUILD="$BUILD" all | grep -v '^make' || true
.ci/docker.sh start "$bench_dir/docker"
bench_postgres
export GC_INTERVAL_SECONDS=604800 EVIDENCE_TTL_DAYS=190
bench_orchestrator
url=http://127.0.0.1:$orchestrator_port

project=$(curl -fsS -H "X-API-Key: $key" -H 'Content-Type: application/json' -d '{"name":"bench"}' "$url/projects")
# The runs of the bundles, once; the bundles are made anew for every measurement.
sql "INSERT INTO runs (user_id, project_id, workspace_id, status, streaming, prompt, engine, run_context, finished_at)
  SELECT '$user_id', '$(echo "$project" | jq -r .id)', '$(echo "$project" | jq -r .workspaceId)', 'succeeded', false, 'bench', 'shell', '{}', now()
  FROM generate_series(1, 101000)"
sql 'VACUUM ANALYZE runs'
run=$(sql 'SELECT id FROM runs LIMIT 1')

# fill ROWS EXPIRED: so many bundles, so many of them too old, with their files
fill() {
    find "$EVIDENCE_ROOT" -maxdepth 1 -name '*.zip' -delete
    sql 'TRUNCATE evidence_bundles'
    sql "INSERT INTO evidence_bundles (run_id, user_id, project_id, workspace_id, status, bundle_path, sha256, size_bytes, sealed_at, created_at)
      SELECT id, user_id, project_id, workspace_id, 'ready', id || '.zip', repeat('0123456789abcdef', 4), 1, now(),
        now() - CASE WHEN row_number() OVER () <= $2 THEN interval '200 days' ELSE interval '1 day' END + row_number() OVER () * interval '1 ms'
      FROM runs LIMIT $1"
    sql 'VACUUM ANALYZE evidence_bundles'
    sql 'SELECT bundle_path FROM evidence_bundles' | (cd "$EVIDENCE_ROOT" && xargs touch)
    sync -f "$EVIDENCE_ROOT"
}

# pass EXPIRED: one pass, which must delete so many; prints milliseconds, and those of CPU time, per 1000
pass() {
    before=$(cpu_ticks "$orchestrator" "$postgres")
    answer=$(curl -fsS -w '\n%{time_total}\n' -H "X-API-Key: $key" -H 'Content-Type: application/json' -d '{"dryRun":false}' "$url/ops/gc") || die 'the pass failed'
    deleted=$(echo "$answer" | head -n 1 | jq .evidence.deleted)
    [ "$deleted" -eq "$1" ] || die "$deleted bundles were deleted, not $1"
    echo "$answer" | tail -n 1 | awk -v n="$1" -v ticks=$(($(cpu_ticks "$orchestrator" "$postgres") - before)) -v hz="$TICKS_PER_S" '{ printf "%.1f %.1f\n", $1 * 1e6 / n, ticks * 1e6 / hz / n }'
}

# Milliseconds of requests, one after the other, until the file named is there.
requests_until() {
    until [ -e "$1" ]; do
        curl -fsS -o /dev/null -w '%{time_total}\n' -H "X-API-Key: $key" "$url/runs/$run"
    done | awk '{ print $1 * 1000 }'
}

percentile() { sort -g | awk -v p="$1" '{ v[NR] = $1 } END { i = int(NR * p + 0.999); print v[i < 1 ? 1 : i] }'; }

round=0
while [ $round -le "$rounds" ]; do
    # The first round warms up.
    [ $round -eq 0 ] && sizes=1000 || sizes='1000 10000 100000'
    for rows in $sizes; do
        fill $((rows + 1000)) 1000
        few=$(pass 1000)
        [ $round -eq 0 ] || echo "few $rows $few" >>"$bench_dir/results"
        fill $rows $rows
        all=$(pass $rows)
        [ $round -eq 0 ] || echo "all $rows $all" >>"$bench_dir/results"
    done
    round=$((round + 1))
done

# Apart from the others: requests take time from the pass as the pass does from them.
fill 100000 100000
requests_until "$bench_dir/over" >"$bench_dir/during" &
asking=$!
pass 100000 >/dev/null
touch "$bench_dir/over"
wait $asking
rm "$bench_dir/over"
(sleep 5 && touch "$bench_dir/over") &
requests_until "$bench_dir/over" >"$bench_dir/idle"

# value CASE ROWS COLUMN: the median; column 3: milliseconds, 4: of CPU time
value() { awk -v c="$1" -v r="$2" -v k="$3" '$1 == c && $2 == r { print $k }' "$bench_dir/results" | median; }

echo
machine
echo "$rounds rounds; medians of a whole pass (POST /ops/gc), per 1000 bundles deleted"
printf '\n%-42s %9s %9s %9s %12s %12s\n' 'milliseconds' '1 k rows' '10 k' '100 k' '10 k / 1 k' '100 k / 1 k'
bad=0
for case in few all; do
    [ $case = few ] && what='1000 expired beside so many young' || what='all expired'
    for column in 3 4; do
        [ $column = 3 ] && how=$what || how="$what, CPU time"
        echo "$(value $case 1000 $column) $(value $case 10000 $column) $(value $case 100000 $column)" |
            awk -v w="$how" '{ printf "%-42s %9.1f %9.1f %9.1f %12.2f %12.2f\n", w, $1, $2, $3, $2 / $1, $3 / $1; exit !($2 / $1 <= 1.3 && $3 / $1 <= 1.3) }' ||
            [ $column = 3 ] || bad=1
    done
done
printf '\nGET /runs/:id, ms: p50 %.2f, p99 %.2f idle; p50 %.2f, p99 %.2f while 100 k bundles are worked off\n' \
    "$(percentile 0.5 <"$bench_dir/idle")" "$(percentile 0.99 <"$bench_dir/idle")" \
    "$(percentile 0.5 <"$bench_dir/during")" "$(percentile 0.99 <"$bench_dir/during")"
[ $bad -eq 0 ] || die 'a ratio is over 1.3'
echo 'goal: ratios up to 1.3'
