#!/bin/sh
# Make the image that tests/escape runs in: a workspace image with the attempts in /escape, one of them set-uid root, and a secret that
# only root may read.
# usage: tests/escape/image.sh TAG FROM PROGRAMS SECRET      FROM is present at the engine; PROGRAMS is the folder of the built attempts
set -eu
cd "$(dirname "$0")/../.."

[ $# -eq 4 ] || {
    printf 'usage: image.sh TAG FROM PROGRAMS SECRET\n' >&2
    exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

mkdir "$work/escape"
for source in tests/escape/*.c; do
    name=$(basename "$source" .c)
    case $name in *_test) continue ;; esac
    strip -o "$work/escape/$name" "$3/$name"
done
cp "$work/escape/set_uid_program" "$work/escape/set_uid_copy"
chmod 0755 "$work"/escape/*
chmod 4755 "$work/escape/set_uid_copy"
printf '%s\n' "$4" >"$work/escape-secret"
chmod 0600 "$work/escape-secret"
# ADD unpacks an archive with the modes in it; COPY takes the set-uid bit away.
tar -C "$work" --owner=0 --group=0 -cf "$work/image.tar" escape escape-secret
rm -r "$work/escape" "$work/escape-secret"
printf 'FROM %s\nLABEL arp.test=escape\nADD image.tar /\n' "$2" >"$work/Dockerfile"
DOCKER_BUILDKIT=0 docker build --quiet --network none --pull=false --tag "$1" "$work" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    exit 1
}
