#!/bin/sh
# A private PostgreSQL for quickstart and CI: its own data directory, Unix socket only, durable (fsync on).
# usage: .ci/postgres.sh start|stop DIR
#   start  make the cluster and the database "arp" in DIR when missing, start the server when it isn't running; prints its
#          DATABASE_URL, which is also in DIR/url. Safe to call again.
#   stop   stop that server and no other. The data stays.
# Root runs the server as the user "postgres", anybody else as themselves. Everything lies in a directory of mode 0700, so whoever
# gets as far as the socket is trusted. When the user "postgres" can't enter DIR (a checkout under /root), root's cluster lies in
# /var/lib/arp-postgres/<digest of DIR> instead and DIR holds only the url.
set -eu

die() {
    printf 'postgres.sh: %s\n' "$*" >&2
    exit 1
}

[ $# -eq 2 ] || die 'usage: postgres.sh start|stop DIR'
action=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd -P)
url_file=$dir/url

# Run a program of the server's as the server's user; it must not depend on where we stand.
as_server() {
    if [ "$(id -u)" -eq 0 ]; then
        (cd / && LC_ALL=C.UTF-8 setpriv --reuid=postgres --regid=postgres --init-groups --reset-env "$@")
    else
        (cd / && LC_ALL=C.UTF-8 "$@")
    fi
}

home=$dir
if [ "$(id -u)" -eq 0 ]; then
    id postgres >/dev/null 2>&1 || die 'the user "postgres" is missing: run .ci/packages.sh run'
    if ! as_server test -x "$(dirname "$dir")"; then
        home=/var/lib/arp-postgres/$(printf '%s' "$dir" | sha256sum | cut -c 1-12)
        mkdir -p "$home"
    fi
fi
data=$home/data

# The process id of our running server, or nothing. A pid file left by a crash may name somebody else's process by now.
server_pid() {
    pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) || return 0
    [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$data" ] && printf '%s' "$pid" || return 0
}

start() {
    version=$(cat "$data/PG_VERSION" 2>/dev/null || ls /usr/lib/postgresql 2>/dev/null | sort -V | tail -n 1)
    bin=/usr/lib/postgresql/$version/bin
    [ -x "$bin/pg_ctl" ] || die 'no PostgreSQL server is installed: run .ci/packages.sh run'
    # sun_path holds 107 bytes.
    [ ${#home} -le 85 ] || die "the path '$home' is too long for a Unix socket: choose a shorter one"
    if [ "$(id -u)" -eq 0 ]; then chown postgres: "$home"; fi
    chmod 0700 "$home"
    if [ ! -e "$data/PG_VERSION" ]; then
        as_server "$bin/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-instructions >"$home/initdb.log" 2>&1 || {
            cat "$home/initdb.log" >&2
            die 'initdb failed'
        }
        cat >>"$data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$home'
unix_socket_permissions = 0700
max_connections = 300
jit = off
default_toast_compression = lz4
CONF
    fi
    if [ -z "$(server_pid)" ]; then
        as_server "$bin/pg_ctl" -D "$data" -l "$home/log" -w -t 60 -s start </dev/null >/dev/null || {
            tail -n 20 "$home/log" >&2
            die 'the server did not start'
        }
    fi
    if [ "$(as_server psql -h "$home" -U postgres -Atqc "SELECT 1 FROM pg_database WHERE datname = 'arp'" postgres)" != 1 ]; then
        as_server createdb -h "$home" -U postgres arp
    fi
    # Percent-encode what a URI's query can't hold as it is.
    printf 'postgresql://postgres@/arp?host=%s\n' "$(printf '%s' "$home" | sed 's/%/%25/g; s/ /%20/g; s/&/%26/g; s/#/%23/g; s/+/%2B/g')" >"$url_file"
    cat "$url_file"
}

stop() {
    pid=$(server_pid)
    [ -n "$pid" ] || return 0
    # SIGINT: fast shutdown, with a checkpoint.
    kill -INT "$pid"
    tries=0
    while [ -n "$(server_pid)" ]; do
        tries=$((tries + 1))
        [ $tries -le 600 ] || die "the server (pid $pid) does not stop"
        sleep 0.1
    done
}

# One caller at a time: two first starts would both run initdb.
exec 9>"$dir/lock"
flock -w 120 9 || die "another postgres.sh is at work in '$dir'"
case $action in
start) start 9>&- ;;
stop) stop ;;
*) die 'usage: postgres.sh start|stop DIR' ;;
esac
