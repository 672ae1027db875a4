#!/bin/sh
# What scripts lean on: process lists, timeouts, locks, niceness, fifos, here-documents, other users' ids.
set -eu
cd "$(mktemp -d)"
ps -ef | grep -c 'system.sh'
pgrep -f system.sh >/dev/null
top -b -n 1 >/dev/null
timeout 1 sleep 5 || [ $? -eq 124 ]
flock lock -c 'flock -n lock -c true' && exit 1
[ "$(nice -n 5 nice)" -eq 5 ]
nohup true 2>/dev/null
mkfifo pipe
cat pipe >got &
echo through >pipe
wait
[ "$(cat got)" = through ]
install -m 600 got copy
cp -a copy copy2
touch -d 2020-01-01 copy2
df . >/dev/null
du -s . >/dev/null
id
date +%Y
dd if=/dev/urandom of=random bs=64k count=16 2>/dev/null
split -n 4 random part
cat part* | cmp - random
env -i /bin/sh -c 'test -n "$PWD"'
sort -R --parallel=2 random >/dev/null 2>&1
