#!/bin/sh
# DevGuide_v0.3_verification.md, made and held to the truth.
# usage: tests/verification/verify.sh record    run every row's commands on a real stack and write the document with what they said
#        tests/verification/verify.sh refresh   the same without the blocks that take minutes: what they said stays
#        tests/verification/verify.sh check     run them again: each row must say what the document says, ids, times, digests and sizes aside
#        … DIR PAGE BUILD                       with another list of rows, document and build: for verify_test.sh
# criteria.txt is the list of what has to be shown, rows/*.md what shows it: text, and blocks of shell, with
#   @row ID            of criteria.txt; what stands before the first is the document's own text
#   @status [x]        or "[ ] reason": such a row is not run, and check refuses it
#   @notes TEXT        of the table
#   @test SUITE NAME…  test program below BUILD/tests and the tests of it that prove the row
#   @as ID…            rows whose commands and tests show this one too
# A block "```sh" is run from the top of the tree by sh -eu; the variables it sets are there in the blocks after it; its output follows it. One
# that ends with another code than 0 fails its row. Of what a block "```sh recorded" says the last line is kept, and refresh and check take it
# from the document and only look that ci_v0.3.sh runs the block's command in a step of its own: it is for what takes minutes.
# All modes end with "N passed, N failed" (rows). ARP_TEST_IMAGE, ARP_TEST_NETWORK as for the suites. Needs build/ with its suites, root, the
# engine and the image.
set -eu
export LC_ALL=C # what tools say is compared
cd "$(dirname "$0")/../.."

case $#:${1:-} in
[14]:record | [14]:refresh | [14]:check) mode=$1 ;;
*)
    echo 'usage: verify.sh record|refresh|check [DIR PAGE BUILD]' >&2
    exit 2
    ;;
esac
rows=${2:-tests/verification}
page=${3:-DevGuide_v0.3_verification.md}
build=${4:-build}
work=$(mktemp -d /tmp/arp-verify.XXXXXX)
chmod 711 "$work"
# Directories that blocks make are in it, so that all stacks are found at the end.
export TMPDIR="$work"
# The programs refuse ARP_ names that they don't know, and blocks start them as a person would.
export VERIFY_IMAGE="${ARP_TEST_IMAGE:-arp-workspace:v0.3}" VERIFY_NETWORK="${ARP_TEST_NETWORK:-arp-verify}" VERIFY_MADE="${ARP_TEST_MADE:-/dev/null}"
unset ARP_TEST_IMAGE ARP_TEST_NETWORK ARP_TEST_MADE ARP_TEST_DATABASE_URL ARP_BUILD
cleanup() {
    for stack in "$work"/*/; do
        [ ! -d "$stack/postgres" ] || tests/verification/stack.sh stop "$stack" || true
    done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
mkdir "$work/rows" "$work/lists" "$work/new" "$work/old"

# Why a row is bad, one line each; the row counts as failed.
bad() {
    row=$1
    shift
    printf '%s\n' "$*" >>"$work/rows/$row.bad"
}
criterion() { awk -F '\t' -v id="$1" '$1 == id { print $2 }' "$rows/criteria.txt"; }

# --- rows ---------------------------------------------------------------------------------------------------------------------

# The tests that prove a row: they must be in the built program. Writes the sentence that names them.
name_tests() { # ROW PROGRAM NAME...
    row=$1 program=$2
    shift 2
    list=$work/lists/$(printf %s "$program" | tr / _)
    [ -e "$list" ] || "$build/tests/$program" --list >"$list" 2>&1 || bad "$row" "test program $program can't be run"
    [ $# -gt 0 ] || bad "$row" "no test of $program is named"
    text=
    for name in "$@"; do
        grep -qxF "$name" "$list" || bad "$row" "$program has no test $name"
        text="$text${text:+, }\`$name\`"
    done
    printf -- "- Proved by \`%s\`: %s.\n" "$program" "$text" >>"$work/rows/$row.tests"
}

# The commands in $work/block end it when they fail; one before "&&" does not, so it is no place for what is to be shown.
judge_block() { # ROW
    ! grep -nE " && echo ('[^']*'|\"[^\"]*\"|[^ '\"]+)\$" "$work/block" >"$work/said" || bad "$1" "does not fail when what comes before '&& echo' does: $(cat "$work/said")"
}

# Run the block in $work/block; its output to $work/said. The variables of one block are there in the next.
run_block() { # ROW SECONDS [COMMAND THAT COMES BEFORE IT]
    {
        printf 'set -aeu\n. "%s/variables"\n%s\n' "$work" "${3:-}"
        cat "$work/block"
        printf 'export -p >"%s/variables"\n' "$work"
    } >"$work/script"
    code=0
    timeout "$2" sh "$work/script" >"$work/said" 2>&1 </dev/null || code=$?
    if [ $code -ne 0 ]; then
        bad "$1" "a command ends with code $code:"
        cat "$work/block" "$work/said" >>"$work/rows/$1.bad"
    fi
}

# What the document says under the block that is in $work/block.
recall_block() { # ROW
    awk 'NR == FNR { want = want (NR > 1 ? "\n" : "") $0; next } $0 == "quiet " want || $0 == "counted " want { found = 1 } END { exit !found }' \
        "$work/block" ci_v0.3.sh || bad "$1" "ci_v0.3.sh does not run '$(cat "$work/block")'"
    awk -v row="$1" -v want="$(cat "$work/block")" '
        /^### / { inside = $2 == row }
        !inside { next }
        $0 == "```" && code { code = 0; armed = said == want; next }
        $0 == "```" && shown { exit }
        code { said = said (said == "" ? "" : "\n") $0; next }
        shown { print }
        /^```sh/ { code = 1; said = "" }
        /^```text/ && armed { shown = 1 }' "$page" >"$work/said"
}

# One file of rows: the text goes on, the blocks are run.
play() { # FILE
    row=text-$(basename "$1" .md) status='' block=''
    while IFS= read -r line || [ -n "$line" ]; do
        if [ -n "$block" ]; then
            if [ "$line" != '```' ]; then
                printf '%s\n' "$line" >>"$work/block"
                continue
            fi
            judge_block "$row"
            case $status:$mode:$block in
            '[ ]'*) block='' ; continue ;;
            *:check:'```sh recorded' | *:refresh:'```sh recorded') recall_block "$row" ;;
            *recorded)
                run_block "$row" 3600 'unset TMPDIR' # the tests' sockets need short paths
                tail -n 1 "$work/said" >"$work/last" && mv "$work/last" "$work/said"
                [ $code -ne 0 ] || echo '(exit code 0)' >>"$work/said"
                ;;
            *) run_block "$row" 60 ;;
            esac
            { echo '```sh'; cat "$work/block"; echo '```'; } >>"$work/rows/$row.body"
            [ -z "$(tail -c 1 "$work/said")" ] || echo >>"$work/said" # a last line without its end
            [ ! -s "$work/said" ] || { echo; echo '```text'; cat "$work/said"; echo '```'; } >>"$work/rows/$row.body"
            block=''
            continue
        fi
        # shellcheck disable=SC2086 # words
        case $line in
        '@row '*)
            row=${line#@row } status=''
            [ -n "$(criterion "$row")" ] || bad "$row" 'is in no list of criteria'
            [ ! -e "$work/rows/$row.body" ] || bad "$row" 'is there twice'
            : >"$work/rows/$row.body"
            : >"$work/rows/$row.as"
            printf '%s\n' "$row" >>"$work/order"
            ;;
        '@status '*) status=${line#@status } && printf '%s\n' "$status" >"$work/rows/$row.status" ;;
        '@notes '*) printf '%s\n' "${line#@notes }" >"$work/rows/$row.notes" ;;
        '@test '*) name_tests "$row" ${line#@test } ;;
        '@as '*) printf '%s\n' ${line#@as } >"$work/rows/$row.as" ;;
        '```sh'*) block=$line && : >"$work/block" ;;
        *) printf '%s\n' "$line" >>"$work/rows/$row.body" ;;
        esac
    done <"$1"
}

# What a row must have, once all are there.
judge_row() { # ROW
    status=$(cat "$work/rows/$1.status" 2>/dev/null) || status=
    case $status in
    '[x]')
        [ -s "$work/rows/$1.tests" ] || [ -s "$work/rows/$1.as" ] || grep -q '^```sh' "$work/rows/$1.body" || bad "$1" 'nothing shows it'
        while read -r other; do
            [ "$(cat "$work/rows/$other.status" 2>/dev/null)" = '[x]' ] || bad "$1" "is shown by $other, which is not shown"
            [ ! -e "$work/rows/$other.bad" ] || bad "$1" "is shown by $other, which failed"
        done <"$work/rows/$1.as"
        ;;
    '[ ] '?*) [ "$mode" != check ] || bad "$1" "is open: ${status#??? }" ;;
    *) bad "$1" "has no status" ;;
    esac
}

# --- document -----------------------------------------------------------------------------------------------------------------

anchor() { printf 'row-%s' "$1" | tr . -; }
# The table's row, status and notes of each criterion whose id fits a pattern.
table() { # PATTERN
    printf '| ID | Criterion | Status | Notes |\n| -- | --------- | ------ | ----- |\n'
    grep -E "^$1	" "$rows/criteria.txt" | while IFS='	' read -r id text; do
        notes=$(cat "$work/rows/$id.notes" 2>/dev/null) || notes=
        printf '| %s | %s | %.3s | %s[evidence](#%s) |\n' "$id" "$text" "$(cat "$work/rows/$id.status" 2>/dev/null)" "${notes:+$notes }" "$(anchor "$id")"
    done
}
section() { # ROW
    status=$(cat "$work/rows/$1.status" 2>/dev/null) || status=
    printf '<a id="%s"></a>\n\n### %s %.3s %s\n\n' "$(anchor "$1")" "$1" "$status" "$(criterion "$1")"
    [ "$status" = '[x]' ] || printf 'Not shown: %s\n\n' "${status#??? }"
    sort "$work/rows/$1.tests" 2>/dev/null || true
    if [ -s "$work/rows/$1.as" ]; then
        printf -- '- Shown by the evidence of'
        while read -r other; do printf ' [%s](#%s)' "$other" "$(anchor "$other")"; done <"$work/rows/$1.as"
        echo .
    fi
    echo
    [ "$status" != '[x]' ] || cat "$work/rows/$1.body"
    echo
}
# Everything, in the order of rows/: a line "@table PATTERN" of a text becomes a table, and rows follow the text of their file.
document() {
    for file in "$rows"/rows/*.md; do
        name=text-$(basename "$file" .md)
        [ ! -e "$work/rows/$name.body" ] || while IFS= read -r line; do
            case $line in
            '@table '*) table "${line#@table }" ;;
            *) printf '%s\n' "$line" ;;
            esac
        done <"$work/rows/$name.body"
        echo
        sed -n 's/^@row //p' "$file" | while read -r id; do section "$id"; done
    done | cat -s
}

# Parts that are different each time; the same names stand in for them in both texts.
mask() {
    sed -E \
        -e 's/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/UUID/g' \
        -e 's/\b[0-9a-f]{64}\b/SHA256/g; s/\b[0-9a-f]{40}\b/SHA1/g; s/\barp-[0-9a-f]{8}-/arp-ID-/g; s/\b[0-9a-f]{12}\b/HEX/g' \
        -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}(\.[0-9]+)?(Z|\+00)?/TIME/g; s/\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b/DAY/g; s/\b[0-9]{2}:[0-9]{2}(:[0-9]{2})?\b/CLOCK/g' \
        -e 's/("?(size|sizeBytes|diffBytes)"? ?[:=] ?)[0-9]+/\1SIZE/g; s/\b[0-9]+ bytes\b/SIZE bytes/g; s/\b[0-9]+ passed/N passed/g; s/127\.0\.0\.1:[0-9]+/URL/g' \
        -e 's/arp-workspace:[A-Za-z0-9._-]+/IMAGE/g; s#/tmp/[A-Za-z0-9._/-]*#/tmp/DIR#g'
}
# A document into one masked file per row, and one of all the text that is in none.
split() { # FILE DIR
    mask <"$1" | awk -v dir="$2" '
        BEGIN { file = dir "/text" }
        /^```/ { code = !code }
        !code && /^## / { file = dir "/text" }
        !code && /^<a id="row-/ { next }
        !code && /^### / { file = dir "/" $2 }
        { print >file }'
}

# --- all together -------------------------------------------------------------------------------------------------------------

: >"$work/variables"
: >"$work/order"
for file in "$rows"/rows/*.md; do play "$file"; done
while IFS='	' read -r id text; do
    if [ -e "$work/rows/$id.body" ]; then judge_row "$id"; else bad "$id" "\"$text\" has no row"; fi
done <"$rows/criteria.txt"
document >"$work/page"
if [ "$mode" = check ]; then
    split "$work/page" "$work/new"
    split "$page" "$work/old"
    for id in text $(cat "$work/order"); do
        diff -U 2 "$work/old/$id" "$work/new/$id" >"$work/diff" 2>&1 || {
            bad "$id" "is not what $page says (- there, + now); if it should be so: $0 refresh"
            sed 1,2d "$work/diff" >>"$work/rows/$id.bad"
        }
    done
fi

passed=0
failed=0
for id in $(cut -f 1 "$rows/criteria.txt"; find "$work/rows" -name '*.bad' | sed 's#.*/##; s/\.bad$//' | sort); do
    [ ! -e "$work/rows/$id.counted" ] || continue
    : >"$work/rows/$id.counted"
    if [ -e "$work/rows/$id.bad" ]; then
        failed=$((failed + 1))
        printf 'FAIL row %s %s\n' "$id" "$(criterion "$id")"
        sed 's/^/    /' "$work/rows/$id.bad"
    elif [ "$(cat "$work/rows/$id.status")" = '[x]' ]; then
        passed=$((passed + 1))
    else
        printf 'open row %s %s\n' "$id" "$(cat "$work/rows/$id.status")"
    fi
done
if [ "$mode" != check ] && [ $failed -eq 0 ]; then cat "$work/page" >"$page"; fi
printf '%d passed, %d failed\n' $passed $failed
[ $failed -eq 0 ] && [ $passed -gt 0 ]
