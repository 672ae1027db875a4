#!/bin/bash
# Job control, coprocesses, process substitution, traps; then an interactive shell on a terminal.
set -eu
cd "$(mktemp -d)"
set -m
sleep 30 &
kill -STOP %1
until [[ $(jobs -s) == *sleep* ]]; do sleep 0.05; done
kill -CONT %1
sleeper=$!
kill %1
# Not %1: bash may have told of its end, and forgotten the job, before this line.
wait "$sleeper" || [ $? -eq 143 ]
coproc cat
echo through >&"${COPROC[1]}"
read -r line <&"${COPROC[0]}"
[ "$line" = through ]
[ "$(paste -d+ <(echo 1) <(echo 2))" = 1+2 ]
trapped=
trap 'trapped=1' USR1
kill -USR1 $$
[ "$trapped" = 1 ]
ulimit -n 100
[ "$(ulimit -n)" = 100 ]
set +m
# A terminal's keys need somebody to be there when they are pressed.
{
    echo 'sleep 20'
    sleep 1
    printf '\032'
    sleep 0.5
    echo jobs
    echo fg
    sleep 1
    printf '\003'
    sleep 0.5
    echo 'echo "job $?"'
    echo exit
} | timeout 20 script -qec 'bash --norc -i' /dev/null >typed
grep -a 'Stopped.*sleep 20' typed
grep -a 'job 130' typed
