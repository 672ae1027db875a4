#!/bin/sh
# Make the agent a folder that runs in any image of the same CPU, also one with another libc or with none: bin/arp-agent beside every
# shared library it needs and the dynamic loader; and sh/bash and sh/sh, the shell shim (static), where CLIs find their shell.
# usage: images/agent-folder.sh OUT BUILD     OUT is replaced; BUILD holds arp-agent and arp-sh
# The folder must stand at /opt/arp: the kernel wants the loader's path absolute. Libraries are found relative to the program by DT_RPATH,
# which unlike DT_RUNPATH also counts for the libraries' own libraries. Needs patchelf and ldd.
set -eu

prefix=/opt/arp

die() {
    printf 'agent-folder.sh: %s\n' "$*" >&2
    exit 1
}
[ $# -eq 2 ] || die "usage: agent-folder.sh OUT BUILD"
out=$1
agent=$2/arp-agent
command -v patchelf >/dev/null || die "patchelf is missing (apt-get install patchelf)"
shim=$2/arp-sh
for program in "$agent" "$shim"; do
    [ -x "$program" ] || die "$program is missing (make)"
done
case $out in '' | / | /opt | /usr | .) die "will not replace '$out'" ;; esac

new=$out.new
rm -rf "$new"
mkdir -p "$new/bin" "$new/lib" "$new/sh"

# ldd prints "name => /path (0x…)" and the loader as "/path (0x…)".
ldd "$agent" >"$new/ldd.txt" || die "ldd $agent failed"
if grep 'not found' "$new/ldd.txt" >&2; then
    die "a library of $agent is missing on this machine"
fi
loader=
while read -r name arrow path _; do
    case $name in
    /*)
        loader=$name
        continue
        ;;
    esac
    [ "$arrow" = '=>' ] || continue
    cp -L "$path" "$new/lib/$name"
done <"$new/ldd.txt"
rm "$new/ldd.txt"
[ -n "$loader" ] || die "$agent has no dynamic loader"
cp -L "$loader" "$new/lib/${loader##*/}"

cp "$agent" "$new/bin/arp-agent"
strip "$new/bin/arp-agent"
patchelf --set-interpreter "$prefix/lib/${loader##*/}" --force-rpath --set-rpath "\$ORIGIN/../lib" "$new/bin/arp-agent"
# One file under two names: the agent knows the shim by device and inode.
cp "$shim" "$new/sh/bash"
strip "$new/sh/bash"
ln -s bash "$new/sh/sh"
chmod 0755 "$new/bin" "$new/lib" "$new/sh" "$new"/bin/* "$new"/lib/* "$new/sh/bash"

# Same inputs, same bytes and times: what is in the image changes only when the agent or a library does.
find "$new" -exec touch -h -d @"${SOURCE_DATE_EPOCH:-1763683200}" {} +
rm -rf "$out"
mv "$new" "$out"
