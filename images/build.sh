#!/bin/sh
# Build the workspace image: BASE + agent folder. Nothing to do when TAG already holds this agent on this base.
# usage: images/build.sh [TAG]          default tag arp-workspace:v0.3
#   BASE   image to put the agent on (default arp-base:bookworm, made by images/base.sh when missing); never pulled
#   BUILD  folder that holds arp-agent and arp-sh (default build)
# Works without a registry and without network, with docker 20.10 (no buildx) and newer clients.
set -eu
cd "$(dirname "$0")/.."

tag=${1:-arp-workspace:v0.3}
base=${BASE:-arp-base:bookworm}
build=${BUILD:-build}

die() {
    printf 'build.sh: %s\n' "$*" >&2
    exit 1
}
command -v docker >/dev/null || die "docker is missing (apt-get install docker.io)"
docker version >/dev/null 2>&1 || die "no container engine answers (docker version fails)"
if [ "$base" = arp-base:bookworm ]; then
    images/base.sh "$base"
fi
base_id=$(docker image inspect --format '{{.Id}}' "$base" 2>/dev/null) || die "base image '$base' is not present at the engine"

work=$(mktemp -d)
probe=
cleanup() {
    if [ -n "$probe" ]; then docker rm "$probe" >/dev/null 2>&1 || true; fi
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

images/agent-folder.sh "$work/agent" "$build"
digest=sha256:$(cd "$work/agent" && find . -type f -print | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d ' ' -f 1)
label() {
    docker image inspect --format "{{index .Config.Labels \"$1\"}}" "$tag" 2>/dev/null || true
}
if [ "$(label arp.agent.digest)" = "$digest" ] && [ "$(label arp.base.id)" = "$base_id" ]; then
    printf 'build.sh: %s is up to date\n' "$tag"
    exit 0
fi

# Give uid 1000 a name where the base has none, and the shell shim as its login shell. The container is made only to copy from; it never runs.
probe=$(docker create --network none --label arp.build=probe --entrypoint /none "$base" /none)
for file in passwd group; do
    docker cp -L "$probe:/etc/$file" "$work/$file" >/dev/null 2>&1 || printf 'root:x:0:%s\n' "$([ $file = group ] || echo '0:root:/:/sbin/nologin')" >"$work/$file"
done
awk -F: -v OFS=: -v shell=/opt/arp/sh/bash '$3 == 1000 { $7 = shell; found = 1 } { print } END { if (!found) print "arp:x:1000:1000::/home/arp:" shell }' \
    "$work/passwd" >"$work/passwd.new"
mv "$work/passwd.new" "$work/passwd"
awk -F: '$3 == 1000 { found = 1 } END { exit !found }' "$work/group" || echo 'arp:x:1000:' >>"$work/group"
chmod 0644 "$work/passwd" "$work/group"
touch -d @"${SOURCE_DATE_EPOCH:-1763683200}" "$work/passwd" "$work/group"

old=$(docker image inspect --format '{{.Id}}' "$tag" 2>/dev/null) || old=
cp images/workspace/Dockerfile "$work/Dockerfile"
# The classic builder: it is in every client, needs no plug-in, and asks no registry for a base that is present.
DOCKER_BUILDKIT=0 docker build --quiet --network none --pull=false --build-arg BASE="$base" --build-arg AGENT_DIGEST="$digest" \
    --build-arg BASE_ID="$base_id" --tag "$tag" "$work" >"$work/build.log" 2>&1 || {
    cat "$work/build.log" >&2
    die "docker build failed"
}
printf 'build.sh: made %s (agent %s on %s)\n' "$tag" "$digest" "$base"
# The image that lost its tag goes, unless a container or another tag still needs it.
if [ -n "$old" ]; then docker image rm "$old" >/dev/null 2>&1 || true; fi
