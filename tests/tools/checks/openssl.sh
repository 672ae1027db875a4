#!/bin/sh
# Keys, a certificate, a signature, TLS over loopback.
set -eu
cd "$(mktemp -d)"
openssl req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -subj /CN=localhost -days 2 2>/dev/null
openssl genpkey -algorithm ed25519 -out e.pem
echo text >f
openssl dgst -sha256 -sign k.pem -out s f
openssl x509 -in c.pem -pubkey -noout >p.pem
openssl dgst -sha256 -verify p.pem -signature s f
openssl s_server -accept 127.0.0.1:4433 -key k.pem -cert c.pem -quiet -www >/dev/null 2>&1 &
server=$!
for i in 1 2 3 4 5 6 7 8 9 10; do
    if echo Q | openssl s_client -connect 127.0.0.1:4433 -CAfile c.pem -verify_return_error >out 2>/dev/null; then break; fi
    sleep 0.2
done
kill $server
grep 'Verify return code: 0' out
