#!/bin/sh
# unittest with subprocess, threads, multiprocessing (fork and spawn), asyncio over loopback, a temporary tty; then a venv.
set -eu
cd "$(mktemp -d)"
cat >test_all.py <<'PY'
import asyncio, multiprocessing, os, pty, socket, sqlite3, subprocess, sys, tempfile, threading, unittest, urllib.request
from concurrent.futures import ProcessPoolExecutor
from http.server import HTTPServer, SimpleHTTPRequestHandler


def square(x):
    return x * x


class All(unittest.TestCase):
    def test_subprocess(self):
        p = subprocess.run([sys.executable, "-c", "print(input()[::-1])"], input=b"abc", capture_output=True, check=True, timeout=20)
        self.assertEqual(p.stdout, b"cba\n")

    def test_multiprocessing(self):
        for method in ("fork", "spawn", "forkserver"):
            with multiprocessing.get_context(method).Pool(2) as pool:
                self.assertEqual(pool.map(square, range(5)), [0, 1, 4, 9, 16])
        with ProcessPoolExecutor(2) as pool:
            self.assertEqual(list(pool.map(square, [3])), [9])

    def test_shared_memory(self):
        from multiprocessing import shared_memory
        m = shared_memory.SharedMemory(create=True, size=100)
        m.buf[0] = 7
        m.close()
        m.unlink()

    def test_threads(self):
        done = []
        threads = [threading.Thread(target=done.append, args=(i,)) for i in range(20)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        self.assertEqual(sorted(done), list(range(20)))

    def test_asyncio(self):
        async def echo(reader, writer):
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()

        async def talk():
            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            r, w = await asyncio.open_connection(*server.sockets[0].getsockname())
            w.write(b"hello\n")
            line = await r.readline()
            w.close()
            server.close()
            p = await asyncio.create_subprocess_exec("true")
            return line, await p.wait()

        self.assertEqual(asyncio.run(talk()), (b"hello\n", 0))

    def test_http(self):
        server = HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with urllib.request.urlopen("http://127.0.0.1:%d/" % server.server_port, timeout=10) as answer:
            self.assertIn(b"test_all.py", answer.read())
        server.shutdown()

    def test_unix_socket_and_tty(self):
        a, b = socket.socketpair()
        socket.send_fds(a, [b"x"], [0])
        self.assertEqual(len(socket.recv_fds(b, 1, 1)[1]), 1)
        pid, fd = pty.fork()
        if pid == 0:
            os.execlp("tty", "tty")
        self.assertTrue(os.read(fd, 100).startswith(b"/dev/pts/"))
        os.waitpid(pid, 0)

    def test_sqlite_and_tempfile(self):
        with tempfile.NamedTemporaryFile() as f:
            db = sqlite3.connect(f.name)
            db.execute("create table t(a)")
            db.commit()


if __name__ == "__main__":
    unittest.main()
PY
python3 -m unittest -q test_all
python3 -m venv --system-site-packages venv
venv/bin/python -c 'import sys; assert sys.prefix != sys.base_prefix; print(sys.prefix)'
venv/bin/pip --version
