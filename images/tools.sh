#!/bin/sh
# Make arp-tools:bookworm, the base image of tests/tools: what people run in a workspace, from Debian packages, and one source package
# to build. Made by images/base.sh; nothing to do when TAG was made from this list already.
# usage: images/tools.sh [TAG]
set -eu
cd "$(dirname "$0")/.."

tag=${1:-arp-tools:bookworm}
PACKAGES=git,ca-certificates,python3,python3-venv,gcc,libc6-dev,libc6-dbg,make,cmake,nodejs,npm,perl,sqlite3,openssl,openssh-client,gdb,strace,valgrind,procps,bzip2
SOURCES=zlib
export PACKAGES SOURCES

recipe=$(printf '%s %s' "$PACKAGES" "$SOURCES" | sha256sum | cut -d ' ' -f 1)
label=$(docker image inspect --format '{{index .Config.Labels "arp.base.recipe"}}' "$tag" 2>/dev/null) || label=
[ "$label" = "$recipe" ] && exit 0
docker image rm "$tag" >/dev/null 2>&1 || true
RECIPE=$recipe exec images/base.sh "$tag"
