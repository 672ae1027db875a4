#!/bin/sh
set -eu
cd "$(mktemp -d)"
mkdir -p a/b
echo one >a/one
ln a/one a/b/hard
ln -s ../one a/b/soft
mkfifo a/fifo
chmod 751 a/b
truncate -s 10M a/sparse
tar -cSzf t.tgz a
mkdir out
tar -xpf t.tgz -C out
cmp a/one out/a/b/soft
[ "$(stat -c %h out/a/one)" -eq 2 ]
[ "$(stat -c %a out/a/b)" -eq 751 ]
[ -p out/a/fifo ]
find out -type f -print0 | xargs -0 -P 2 -n 1 sha256sum | wc -l
