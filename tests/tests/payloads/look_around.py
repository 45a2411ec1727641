# What the sandbox of an unknown caller looks like from inside.
import ctypes, json, os, socket


def denied(action):
    try:
        action()
    except OSError:
        return True
    return False


status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "uid": os.getuid(),
    "places": os.listdir("/home") + os.listdir("/run"),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "capabilities": sum(int(status[name], 16) for name in status if name.startswith("Cap")),
    "confined": status["Seccomp"].strip() + status["NoNewPrivs"].strip(),
    "few processes": os.getpid() < 10,
    "shadow denied": denied(lambda: open("/etc/shadow")),
    "usr denied": denied(lambda: open("/usr/new", "w")),
    "init denied": denied(lambda: open("/proc/1/environ")),
    "namespaces denied": ctypes.CDLL(None).unshare(0x10000000) == -1,
}))
open("made", "w").write("made")
