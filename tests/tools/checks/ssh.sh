#!/bin/sh
# Keys, signatures, an agent (which makes itself undumpable and insists that it worked).
set -eu
umask 077
cd "$(mktemp -d)"
ssh-keygen -q -t ed25519 -N '' -f key
echo text >f
ssh-keygen -q -Y sign -f key -n file f 2>/dev/null
printf 'a@example.com %s\n' "$(cat key.pub)" >allowed
ssh-keygen -Y verify -f allowed -I a@example.com -n file -s f.sig <f
eval "$(ssh-agent -s)" >/dev/null
ssh-add -q key
ssh-add -l | grep ED25519
ssh-agent -k >/dev/null
