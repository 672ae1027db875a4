#!/bin/sh
# Make the base image arp-base:bookworm without a registry: mmdebstrap (minbase + git, ca-certificates, python3-minimal) -> docker import.
# usage: images/base.sh [TAG]        nothing to do when TAG is present already (docker rmi TAG forces a new one)
#   PACKAGES   Debian packages beside the minimal system (default git,ca-certificates,python3-minimal)
#   RECIPE     digest of what made it be so, kept as the label arp.base.recipe (default empty)
#   SOURCES    Debian source packages, fetched but not unpacked, into /usr/src (default none)
# Package sources and apt's proxy and authentication are those of this machine, when it is a Debian 12; else deb.debian.org.
# File times are clamped to SOURCE_DATE_EPOCH (default: a fixed day), so the image changes only when a package does.
# Needs root (or a user that may use user namespaces), mmdebstrap, docker.
# shellcheck disable=SC2016  # apt's $(…) and the hooks' $1 are not for this shell
set -eu

tag=${1:-arp-base:bookworm}
suite=bookworm
packages=${PACKAGES:-git,ca-certificates,python3-minimal}
sources=${SOURCES:-}

die() {
    printf 'base.sh: %s\n' "$*" >&2
    exit 1
}
for tool in mmdebstrap docker; do
    command -v "$tool" >/dev/null || die "$tool is missing (apt-get install mmdebstrap docker.io)"
done
docker version >/dev/null 2>&1 || die "no container engine answers (docker version fails)"
if docker image inspect "$tag" >/dev/null 2>&1; then
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# The Debian lines of this machine's own apt, as one-line entries.

apt-get indextargets --format '$(CREATED_BY) $(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' 2>/dev/null |
    awk -v suite="$suite" '$1 == "Packages" && $2 == "Debian" && index($4, suite) == 1 { print "deb " $3 " " $4 " " $5 }' |
    sort -u >"$work/sources.list"
grep -q " $suite " "$work/sources.list" || cat >"$work/sources.list" <<EOF
deb http://deb.debian.org/debian $suite main
deb http://deb.debian.org/debian $suite-updates main
deb http://deb.debian.org/debian-security $suite-security main
EOF

# How this machine's apt reaches its servers. The caches and the methods stay mmdebstrap's own.
apt-config dump 2>/dev/null | grep -E '^Acquire::(https?|ftp)::|^Acquire::(Retries|Check-)' >"$work/apt.conf" || true

set -- --quiet --variant=minbase --include="$packages" --format=tar \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --customize-hook='echo "arp:x:1000:" >>"$1/etc/group"' \
    --customize-hook='echo "arp:x:1000:1000::/home/arp:/bin/sh" >>"$1/etc/passwd"' \
    --customize-hook='mkdir -p "$1/home/arp" "$1/workspace" && chown 1000:1000 "$1/home/arp"' \
    --customize-hook='rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap" "$1/etc/hostname" "$1/etc/resolv.conf" "$1"/var/log/*.log "$1"/var/log/apt/*' \
    --customize-hook='rm -f "$1/var/cache/ldconfig/aux-cache"'
if [ -n "$sources" ]; then
    # Of the release itself: what updates and security hold may be gone from a mirror when its index is older.
    sed -n "s/^deb \(.* $suite main\)\$/deb-src \1/p" "$work/sources.list" >"$work/sources-src.list"
    cat "$work/sources-src.list" >>"$work/sources.list"
    set -- "$@" --customize-hook="cd \"\$1/usr/src\" && APT_CONFIG=\"\$MMDEBSTRAP_APT_CONFIG\" apt-get --quiet source --download-only $sources"
fi
if [ -s "$work/apt.conf" ]; then
    set -- "$@" --aptopt="$work/apt.conf"
fi
set -- "$@" "$suite" "$work/root.tar" "$work/sources.list"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1763683200} mmdebstrap "$@" || die "mmdebstrap failed (its words are above)"
docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' --change "LABEL arp.base=bookworm arp.base.recipe=${RECIPE:-}" \
    "$work/root.tar" "$tag" >/dev/null || die "docker import failed"
printf 'base.sh: made %s\n' "$tag"
