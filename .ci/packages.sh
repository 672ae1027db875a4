#!/bin/sh
# Install the Debian 12 packages that are missing. Quick and silent when none is.
# usage: .ci/packages.sh [build] [run] [test] [bench]      without arguments: all four
# Needs root or a sudo that asks nothing. A package with "/command" counts as there when that command is.
set -eu

build='
gcc                     the first compiler
clang-14                the second: what one lets through the other may not
make                    runs the Makefile
pkg-config              where the libraries are
git                     sources, and repositories in tests
libcurl4-openssl-dev    HTTP client: container engine, agents, arpctl
libpq-dev               PostgreSQL client
libcjson-dev            JSON reader
libgit2-dev             repository state, trees and diffs
libzip-dev              evidence bundles
libseccomp-dev          syscall filters of the sandbox
libmicrohttpd-dev       HTTP server
libssl-dev              libcrypto: SHA-256, Ed25519
libpopt-dev             command line of arpctl
python3-yaml            docs/openapi.yaml becomes the JSON in the program
libcunit1-dev           unit tests
clang-format-14         make check compares the format
cppcheck                make analyze
patchelf                makes the agent folder relocatable
'
run='
postgresql-15           the database
docker.io/dockerd       the container engine
iptables                networks of the container engine
mmdebstrap              root file systems of workspace images
ca-certificates         trust roots for HTTPS
curl                    the tour in README
jq                      reads JSON in scripts
unzip                   opens evidence bundles
util-linux              flock, setpriv
'
test='
valgrind                memory errors without a rebuild
libclang-rt-14-dev      sanitizers of clang
openssh-client          ssh-keygen -Y verify: a stock verifier of seals
openssl                 another one
python3-jsonschema      holds answers against the schemas of docs/openapi.yaml
nodejs/node             runs npm
npm/npm                 fetches packages of coding agents (images/engine.sh); none of their scripts runs
'
bench='
wrk                     load for bench/api.sh
nodejs/node             the servers bench/ compares with
npm/npm                 installs them
bubblewrap              another sandbox to compare with
'

[ $# -gt 0 ] || set -- build run test bench
missing=
for group in "$@"; do
    case $group in
    build) list=$build ;;
    run) list=$run ;;
    test) list=$test ;;
    bench) list=$bench ;;
    *)
        printf 'packages.sh: unknown group "%s"; groups: build run test bench\n' "$group" >&2
        exit 1
        ;;
    esac
    for entry in $(printf '%s\n' "$list" | awk '{ print $1 }'); do
        package=${entry%/*}
        command=${entry#"$package"}
        if [ -n "$command" ] && command -v "${command#/}" >/dev/null 2>&1; then continue; fi
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=
        [ "$state" = installed ] || missing="$missing $package"
    done
done
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null || {
    printf 'packages.sh: no apt-get here; install what these Debian packages hold:%s\n' "$missing" >&2
    exit 1
}
as_root=
[ "$(id -u)" -eq 0 ] || as_root='sudo -n'
apt() {
    # shellcheck disable=SC2086 # as_root is a command prefix
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef \
        -o Dpkg::Options::=--force-confold "$@"
}

printf 'installing:%s\n' "$missing"
apt update
case " $missing " in
*' postgresql-15 '*)
    # The server is ours to start, from .ci/postgres.sh: Debian's own cluster must not be made.
    apt install --no-install-recommends postgresql-common
    $as_root sed -i 's/^#\{0,1\} *create_main_cluster *=.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
    ;;
esac
# shellcheck disable=SC2086 # a list
apt install --no-install-recommends $missing
