#!/bin/sh
# Make arp-workspace-NAME:VERSION: a workspace image + one layer with the program of a coding agent, /opt/arp/engines/NAME/bin/NAME.
# Nothing to do when the image holds this program on this base already.
# usage: images/engine.sh NAME [VERSION] [BASE]      NAME and VERSION: of images/engines.txt (default version: the first there)
#   BASE      workspace image (default arp-workspace:v0.3, made by images/build.sh)
#   TAG       of the image (default arp-workspace-NAME:VERSION)
#   TARBALL   the npm package's tarball, when it is at hand; else ARP_CACHE (default .arp/cache) is looked into, then npm fetches it
# The tarball must have the SHA-256 that images/engines.txt says. No script of a package is ever run. No network is needed but for fetching.
# npm fetches because it knows this machine's registry, credentials, proxy and certificates, which otherwise had to be read out of its files.
set -eu
cd "$(dirname "$0")/.."

die() {
    printf 'engine.sh: %s\n' "$*" >&2
    exit 1
}
[ $# -ge 1 ] || die "usage: images/engine.sh NAME [VERSION] [BASE]"
name=$1
line=$(awk -v name="$name" -v version="${2:-}" -v machine="$(uname -m)" \
    '$1 == name && (version == "" || $2 == version) && $3 == machine { print; exit }' images/engines.txt)
[ -n "$line" ] || die "images/engines.txt has no line for $name ${2:-} on $(uname -m)"
# shellcheck disable=SC2086 # words without blanks
set -- $line "${3:-arp-workspace:v0.3}"
version=$2 package=$4 file=$5 want=$6 licence=$7 base=$8
tag=${TAG:-arp-workspace-$name:$version}
cache=${ARP_CACHE:-.arp/cache}

command -v docker >/dev/null || die "docker is missing (apt-get install docker.io)"
docker version >/dev/null 2>&1 || die "no container engine answers (docker version fails)"
base_id=$(docker image inspect --format '{{.Id}}' "$base" 2>/dev/null) || die "base image '$base' is not present at the engine (images/build.sh makes it)"
label() {
    docker image inspect --format "{{index .Config.Labels \"$1\"}}" "$tag" 2>/dev/null || true
}
if [ "$(label arp.engine.package.sha256)" = "$want" ] && [ "$(label arp.engine.base)" = "$base_id" ]; then
    printf 'engine.sh: %s is up to date\n' "$tag"
    exit 0
fi
if [ "$licence" = proprietary ]; then
    printf 'engine.sh: %s is proprietary software of its maker: by making this image you take it under your own terms with them. Keep the image to yourself.\n' "$package" >&2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
digest_of() { sha256sum "$1" | cut -d ' ' -f 1; }

tarball=${TARBALL:-$cache/$name-$version-$3.tgz}
if [ ! -f "$tarball" ]; then
    [ -z "${TARBALL:-}" ] || die "there is no $TARBALL"
    command -v npm >/dev/null || die "npm is missing (apt-get install npm), and $tarball is not there"
    printf 'engine.sh: fetching %s\n' "$package"
    npm pack --silent --ignore-scripts --pack-destination "$work" "$package" >/dev/null 2>"$work/npm.log" || {
        cat "$work/npm.log" >&2
        die "npm can't fetch $package; TARBALL=FILE takes one that was fetched elsewhere"
    }
    got=$(digest_of "$work"/*.tgz)
    [ "$got" = "$want" ] || die "$package has SHA-256 $got, images/engines.txt says $want"
    mkdir -p "$cache"
    mv "$work"/*.tgz "$tarball.$$"
    mv "$tarball.$$" "$tarball"
fi
got=$(digest_of "$tarball")
[ "$got" = "$want" ] || die "$tarball has SHA-256 $got, images/engines.txt says $want"

mkdir -p "$work/image/bin"
program=$work/image/bin/$name
tar -xzOf "$tarball" "$file" >"$program" || die "$tarball has no $file"
chmod 0755 "$program" "$work/image/bin"
touch -d @"${SOURCE_DATE_EPOCH:-1763683200}" "$program" "$work/image/bin"
cat >"$work/image/Dockerfile" <<EOF
FROM $base_id
COPY bin /opt/arp/engines/$name/bin
LABEL arp.engine=$name arp.engine.version=$version arp.engine.sha256=$(digest_of "$program") arp.engine.package.sha256=$want \
      arp.engine.licence=$licence arp.engine.base=$base_id
EOF
old=$(docker image inspect --format '{{.Id}}' "$tag" 2>/dev/null) || old=
DOCKER_BUILDKIT=0 docker build --quiet --network none --pull=false --tag "$tag" "$work/image" >"$work/build.log" 2>&1 || {
    cat "$work/build.log" >&2
    die "docker build failed"
}
printf 'engine.sh: made %s (%s %s on %s)\n' "$tag" "$name" "$version" "$base"
# The image that lost its tag goes, unless a container or another tag still needs it.
if [ -n "$old" ]; then docker image rm "$old" >/dev/null 2>&1 || true; fi
