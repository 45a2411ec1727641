# Who else is there, by every name they could have.
print("PIDS", len([name for name in os.listdir("/proc") if name.isdigit()]))
for pid in range(1, 4096):
    if pid == os.getpid():
        continue
    try:
        os.kill(pid, 0)
        print("ALLOWED", "signal", pid, sep="\t")
    except ProcessLookupError:
        pass
    except PermissionError:
        if pid != 1:
            print("ALLOWED", "exists", pid, sep="\t")
for path in ("/tmp/mark", "/dev/shm/mark", "/var/tmp/mark", "/workspace/mark"):
    attempt("read " + path, lambda: read(path))
SHM_KEY = 0x5355_5056
attempt("segment", lambda: call({"x86_64": 29, "aarch64": 194}[platform.machine()], SHM_KEY, 0, 0))
attempt("listener", lambda: socket.create_connection(("127.0.0.1", 4711), 5) and "connected")
"""Marks of its own, for the other one not to find."""
for path in ("/tmp/mark", "/dev/shm/mark", "/workspace/mark"):
    write(path, b"mark", os.O_CREAT)
call({"x86_64": 29, "aarch64": 194}[platform.machine()], SHM_KEY, 4096, 0o1666)
listener = socket.create_server(("127.0.0.1", 4711))
print("up", flush=True)
signal.pause()
