# Uses every credential, has each sent back, and keeps all that can be read in here.
import os
import subprocess

KINDS = "header query basic client refresh aws broker".split()


def curl(path, *more):
    words = ["curl", "-sS", "-i", *more, "https://api.example.com" + path]
    told = subprocess.run(words, capture_output=True)
    return told.stdout + told.stderr


heard = b""
for kind in KINDS:
    key = ["-H", "X-Key: " + os.environ["API_KEY"]] if kind == "header" else []
    answer = curl("/" + kind, *key)
    heard += answer
    print(answer.rsplit(b"\r\n\r\n")[-1].decode().strip(), flush=True)
    answer = curl("/echo/" + kind, *key)
    heard += answer
    print("echo", kind, b"credential_reflected" in answer, flush=True)
canary = curl("/header", "-H", "X-Other: " + os.environ.get("CANARY", "none"))

BEFORE = "/workspace/seen"
with open(BEFORE, "wb") as seen:
    def keep(path):
        try:
            with open(path, "rb") as file:
                if seen.tell() > 32 << 20:
                    raise SystemExit("there is more to read than expected: " + path)
                seen.write(path.encode() + b"\n" + file.read(1 << 22) + b"\n")
        except OSError:
            pass

    seen.write(repr(dict(os.environ)).encode() + heard + canary)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in "environ cmdline maps mountinfo status net/tcp net/unix fd".split():
            keep(f"/proc/{pid}/{name}")
    for top, below, names in os.walk("/"):
        below[:] = [each for each in below if os.path.join(top, each) not in ("/usr", "/proc", "/sys", "/dev")]
        for name in names:
            # The host's programs are in /usr, and links to them all over /etc.
            if os.path.realpath(os.path.join(top, name)).partition("/usr/")[0] and name != "seen":
                keep(os.path.join(top, name))
    # What this process has, whatever it is.
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            place, rights, *_ = line.split()
            first, last = (int(each, 16) for each in place.split("-"))
            if rights.startswith("rw") and last - first < 1 << 23 and seen.tell() < 40 << 20:
                memory.seek(first)
                try:
                    seen.write(memory.read(last - first))
                except OSError:
                    pass
print("kept", flush=True)
