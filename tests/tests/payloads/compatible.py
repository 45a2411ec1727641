# The parts of the standard library that lean on the kernel.
import asyncio, concurrent.futures, ctypes, hashlib, json, lzma, mmap, multiprocessing, os
import random, resource, select, signal, socket, sqlite3, ssl, subprocess, sys, tempfile
import threading, time, urllib.request, uuid, zlib
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing import shared_memory


async def wait():
    made = await asyncio.create_subprocess_exec("true")
    return await made.wait()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"served")

    def log_message(self, *_):
        pass


def main():
    assert subprocess.run(["sh", "-c", "echo hi|cat"], capture_output=True).stdout == b"hi\n"
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(abs, [-3])) == [3]
    segment = shared_memory.SharedMemory(create=True, size=4096)
    segment.buf[0] = 7
    segment.close()
    segment.unlink()
    assert asyncio.run(wait()) == 0
    base = sqlite3.connect("base.db")
    base.execute("pragma journal_mode = wal")
    base.execute("create table t (x)")
    base.executemany("insert into t values (?)", [(n,) for n in range(1000)])
    base.commit()
    assert base.execute("select sum(x) from t").fetchone() == (499500,)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    assert urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/").read() == b"served"
    with tempfile.TemporaryFile() as scratch:
        scratch.write(zlib.compress(b"x" * 1000))
    assert socket.gethostbyname("localhost") == "127.0.0.1"
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    print("alarm" if signal.sigwait({signal.SIGALRM}) == signal.SIGALRM else "another")
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    assert len(hashlib.sha256(lzma.compress(os.urandom(64))).digest()) == 32
    print(uuid.uuid4().version, "compatible")


if __name__ == "__main__":
    main()
