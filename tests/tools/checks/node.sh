#!/bin/sh
# npm test of a package: node's own test runner, with workers, children, a server, file watching and native fetch.
set -eu
cd "$(mktemp -d)"
echo '{"name":"t","version":"1.0.0","private":true,"scripts":{"pretest":"node --check t.test.js","test":"node --test"}}' >package.json
cat >t.test.js <<'T'
const test = require('node:test');
const assert = require('node:assert');
const { Worker } = require('node:worker_threads');
const { execFileSync, fork } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const once = require('node:events').once;

test('worker', async () => {
    const worker = new Worker('require("worker_threads").parentPort.postMessage(6 * 7)', { eval: true });
    assert.strictEqual((await once(worker, 'message'))[0], 42);
});
test('children', async () => {
    assert.strictEqual(execFileSync('sh', ['-c', 'echo $((6 * 7))']).toString(), '42\n');
    fs.writeFileSync('child.js', 'process.send(42); process.disconnect()');
    assert.strictEqual((await once(fork('./child.js'), 'message'))[0], 42);
});
test('server', async () => {
    const server = http.createServer((q, r) => r.end('hi')).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const text = await (await fetch('http://127.0.0.1:' + server.address().port)).text();
    server.close();
    assert.strictEqual(text, 'hi');
});
test('watch', async () => {
    fs.writeFileSync('watched', 'a');
    const watcher = fs.watch('watched');
    setTimeout(() => fs.writeFileSync('watched', 'b'), 50);
    await once(watcher, 'change');
    watcher.close();
});
test('crypto and wasm', async () => {
    assert.strictEqual(crypto.createHash('sha256').update('').digest('hex').slice(0, 8), 'e3b0c442');
    await WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));
});
T
npm test --offline
mkdir dep
echo '{"name":"dep","version":"1.0.0"}' >dep/package.json
echo 'module.exports = 42' >dep/index.js
npm install --offline --no-audit --no-fund ./dep
node -e 'process.exit(require("dep") === 42 ? 0 : 1)'
