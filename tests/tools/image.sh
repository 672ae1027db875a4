#!/bin/sh
# Make the image that tests/tools runs in: tools, checks and the agent.
# usage: tests/tools/image.sh TAG BUILD      BUILD holds arp-agent
set -eu
cd "$(dirname "$0")/../.."

[ $# -eq 2 ] || {
    printf 'usage: image.sh TAG BUILD\n' >&2
    exit 1
}
base=arp-tools:bookworm
images/tools.sh "$base"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

cp -r tests/tools/checks "$work/checks"
printf 'FROM %s\nCOPY checks/ /checks/\n' "$base" >"$work/Dockerfile"
DOCKER_BUILDKIT=0 docker build --quiet --network none --pull=false --tag "$1-base" "$work" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    exit 1
}
BASE=$1-base BUILD=$2 images/build.sh "$1"
