#!/bin/sh
# Does verify.sh notice? A small list of rows of its own, recorded, then made wrong in one way at a time.
# Ends with "N passed, N failed".
set -eu
cd "$(dirname "$0")/../.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0
failed=0

# A whole one: rows that pass, one of them with output that is never the same.
make_rows() {
    rm -rf "${dir:?}"/*
    mkdir -p "$dir/rows" "$dir/build/tests/unit"
    printf '1\tFirst\n2\tSecond\n' >"$dir/criteria.txt"
    printf '#!/bin/sh\necho states_what_it_proves\n' >"$dir/build/tests/unit/some_test"
    chmod +x "$dir/build/tests/unit/some_test"
    cat >"$dir/rows/1.md" <<'ROWS'
# Title

@table [0-9]

```sh
WORD=kept
```

## Section

@row 1
@status [x]
@test unit/some_test states_what_it_proves
Text.

```sh
echo "$WORD"
cat /proc/sys/kernel/random/uuid
date +%FT%T.%3NZ
```

@row 2
@status [x]
@as 1
ROWS
    record
}
record() {
    tests/verification/verify.sh record "$dir" "$dir/page" "$dir/build" >"$dir/said"
}
# After the last step: check must end well (0) or not (1), and say so.
expect() { # CODE WORDS NAME
    code=0
    tests/verification/verify.sh check "$dir" "$dir/page" "$dir/build" >"$dir/said" 2>&1 || code=$?
    if [ $code -eq "$1" ] && grep -qF "$2" "$dir/said"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAIL %s: code %d, wanted %d and "%s":\n' "$3" $code "$1" "$2"
        cat "$dir/said"
    fi
}

# With a third row that is not shown; it is not run.
add_open_row() {
    printf '3\tThird\n' >>"$dir/criteria.txt"
    printf '\n@row 3\n@status [ ] there is no such thing here\n```sh\nfalse\n```\n' >>"$dir/rows/1.md"
    record
}

make_rows
grep -qx kept "$dir/page" || failed=$((failed + 1))
expect 0 '2 passed, 0 failed' 'recorded page is accepted'

make_rows
add_open_row
grep -qF '| 3 | Third | [ ] |' "$dir/page" || failed=$((failed + 1))
expect 1 'is open: there is no such thing here' 'open row is recorded, and refused'

make_rows
sed -i 's/^kept$/left/' "$dir/page"
expect 1 '-left' 'other output is refused'

make_rows
sed -i 's/^Text\.$/Another text./' "$dir/page"
expect 1 'FAIL row 1' 'other words are refused'

make_rows
sed -i 's/^# Title$/# Name/' "$dir/page"
expect 1 'FAIL row text' 'other words outside of rows are refused'

make_rows
sed -i 's/^date .*/&; exit 3/' "$dir/rows/1.md"
expect 1 'a command ends with code 3' 'failing command is refused'

make_rows
sed -i 's/^WORD=kept$/false/' "$dir/rows/1.md"
expect 1 'FAIL row text-1' 'failing setting is refused'

make_rows
sed -i 's/^WORD=kept$/exit 0/' "$dir/rows/1.md"
expect 1 'FAIL row' 'variable that was never set is refused'

make_rows
sed -i 's/it_proves/it_proved/' "$dir/rows/1.md"
expect 1 'unit/some_test has no test states_what_it_proved' 'missing test is refused'

make_rows
sed -i 's/it_proves/it_prove/' "$dir/rows/1.md"
expect 1 'unit/some_test has no test states_what_it_prove' 'beginning of the name of a test is refused'

make_rows
sed -i 's/^echo "\$WORD"$/test "$WORD" = other \&\& echo same/' "$dir/rows/1.md"
expect 1 'does not fail when what comes before' 'check that can not fail is refused'

make_rows
rm "$dir/build/tests/unit/some_test"
expect 1 "unit/some_test can't be run" 'missing test program is refused'

make_rows
printf '4\tFourth\n' >>"$dir/criteria.txt"
expect 1 '"Fourth" has no row' 'criterion without a row is refused'

make_rows
sed -i '/^2	/d' "$dir/criteria.txt"
expect 1 'is in no list of criteria' 'row without a criterion is refused'

make_rows
add_open_row
sed -i 's/^@status \[ \].*/@status [x]/' "$dir/rows/1.md"
expect 1 'FAIL row 3' 'row that is not shown but says so is refused'

make_rows
add_open_row
sed -i 's/^@as 1$/@as 3/' "$dir/rows/1.md"
expect 1 'is shown by 3, which is not shown' 'row shown by one that is not is refused'

make_rows
sed -i '/^@as 1$/d' "$dir/rows/1.md"
expect 1 'nothing shows it' 'row that nothing shows is refused'

make_rows
sed -i 's/sh$/sh recorded/' "$dir/rows/1.md"
expect 1 'ci_v0.3.sh does not run' 'recorded output that CI does not make is refused'

make_rows
printf '\n```sh recorded\nmake --no-print-directory -j "$(nproc)" ana\n```\n' >>"$dir/rows/1.md"
expect 1 'ci_v0.3.sh does not run' 'part of a command that CI runs is refused'

printf '%d passed, %d failed\n' $passed $failed
[ $failed -eq 0 ]
