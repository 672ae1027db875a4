#!/bin/sh
# Check a bundle with stock tools only, as docs/VERIFY.md tells an auditor to: unzip, sha256sum, ssh-keygen, openssl, jq.
# usage: foreign_tools.sh BUNDLE.zip PUBLIC.pem ALLOWED_SIGNERS WORK_DIR [STEPS_DIR]
# STEPS_DIR: of a workflow run's bundle, the directory with its steps' bundles.
# Exit 0: all accept. Exit 1: "REFUSED by <tool>" on standard output. Exit 2: a tool is missing.
set -u
bundle=$1 pem=$2 allowed=$3 work=$4 steps=${5:-}
for tool in unzip sha256sum ssh-keygen openssl jq base64; do
    command -v $tool >/dev/null || { echo "$tool is not installed"; exit 2; }
done
refuse() { echo "REFUSED by $1"; exit 1; }

unzip -tq "$bundle" >/dev/null 2>&1 || refuse unzip
rm -rf "$work" && mkdir "$work" && unzip -q "$bundle" -d "$work" || refuse unzip
cd "$work"/* || refuse unzip
run=${PWD##*/}

sha256sum --strict --quiet -c tagmanifest-sha256.txt || refuse sha256sum
sha256sum --strict --quiet -c manifest-sha256.txt || refuse sha256sum

ssh-keygen -Y verify -f "$allowed" -I arp-seal -n arp-evidence -s attestation/tagmanifest-sha256.txt.sig \
    <tagmanifest-sha256.txt >/dev/null 2>&1 || refuse ssh-keygen

line=$(sed -n 1p attestation/*.intoto.jsonl)
type=$(printf %s "$line" | jq -r .payloadType)
printf %s "$line" | jq -r .payload | base64 -d >../statement || refuse base64
printf %s "$line" | jq -r '.signatures[0].sig' | base64 -d >../sig || refuse base64
{ printf 'DSSEv1 %d %s %d ' ${#type} "$type" "$(wc -c <../statement)"; cat ../statement; } >../pae
openssl pkeyutl -verify -pubin -inkey "$pem" -rawin -in ../pae -sigfile ../sig >/dev/null 2>&1 || refuse openssl

[ "$(jq -r '.subject[0].digest.sha256' ../statement)" = "$(sha256sum <tagmanifest-sha256.txt | cut -c1-64)" ] || refuse jq
[ "$(jq -r '.predicate.runDetails.metadata.invocationId' ../statement)" = "$run" ] || refuse jq

for f in *.jsonl; do
    [ $f = engine.jsonl ] && continue # what a program printed: not our log
    n=0
    prev=$(printf 'arp-chain-v1\n%s\n%s\n' "$run" $f | sha256sum | cut -c1-64)
    while IFS= read -r l; do
        [ "$(printf %s "$l" | jq -r .prev)" = "$prev" ] && [ "$(printf %s "$l" | jq -r .seq)" = $n ] || refuse "jq: $f breaks at line $n"
        prev=$(printf %s "$l" | sha256sum | cut -c1-64)
        n=$((n + 1))
    done <$f
    [ "$n $prev" = "$(jq -r --arg f $f '.predicate.runDetails.byproducts[]|select(.name==$f)|.annotations|"\(.arp_lines) \(.arp_head)"' ../statement)" ] ||
        refuse "jq: $f has another end than the statement says"
done

if [ -n "$steps" ]; then
    list=$PWD/data/bundles-sha256.txt
    (cd "$steps" && sha256sum --strict --quiet -c "$list") || refuse "sha256sum: a step's bundle"
    jq -r '.subject[1:][] | "\(.digest.sha256)  \(.name)"' ../statement | cmp -s - "$list" || refuse "jq: another list is signed"
fi
echo ACCEPTED
