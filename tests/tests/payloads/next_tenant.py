# Looks for the name that the one before has left.
import itertools

MARK = b"TENANT" + b"-A-"


def look(where, data):
    if MARK in data:
        print("ALLOWED", "residue", where, sep="\t")


for place in ("/workspace", "/tmp", "/dev", "/var", "/run", "/home"):
    for root, _, files in os.walk(place):
        for path in (os.path.join(root, name) for name in files):
            if stat.S_ISREG(os.lstat(path).st_mode):
                print("FILE", path)
                look(path, read(path, 1 << 20))
for number in itertools.count():
    try:
        descriptor = os.open(f"space-{number}", os.O_CREAT | os.O_RDWR, 0o600)
        os.posix_fallocate(descriptor, 0, 16 << 20)
        look("reserved", os.pread(descriptor, 16 << 20, 0))
    except OSError:
        break
look("anonymous", mmap.mmap(-1, 64 << 20)[:])
print("looked")
