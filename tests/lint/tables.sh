#!/bin/sh
# Tables that the code prints and pages hold: README.md (API, configuration) and docs/CONFIG.md.
# usage: tests/lint/tables.sh check|write PATH_OF_ARP_ORCHESTRATOR
set -eu
cd "$(dirname "$0")/../.."
mode=$1
program=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$program" print-config >"$work/CONFIG.md"
"$program" print-routes >"$work/routes"
grep '^|' "$work/CONFIG.md" >"$work/config"

# What stands between "<!-- begin NAME -->" and "<!-- end NAME -->" becomes the file of that name.
awk -v dir="$work" '
    /^<!-- begin / { print; file = dir "/" $3; while ((getline line < file) > 0) print line; skip = 1; next }
    /^<!-- end / { skip = 0 }
    !skip { print }
' README.md >"$work/README.md"

bad=0
for pair in README.md:README.md CONFIG.md:docs/CONFIG.md; do
    made=$work/${pair%%:*}
    page=${pair#*:}
    cmp -s "$made" "$page" && continue
    if [ "$mode" = write ]; then
        cat "$made" >"$page"
    else
        printf '%s is not what the code prints: run make docs\n' "$page"
        bad=1
    fi
done
exit $bad
