# Device nodes of every kind, the overlay's whiteout among them, in every place that can be written.
print("DEVICES", ",".join(sorted(os.listdir("/dev"))))
for place in (".", "/tmp", "/dev/shm", "/dev"):
    for what, kind, major, minor in (
        ("kmsg", stat.S_IFCHR, 1, 11), ("mem", stat.S_IFCHR, 1, 1), ("disk", stat.S_IFBLK, 254, 0),
        ("loop", stat.S_IFBLK, 7, 0), ("whiteout", stat.S_IFCHR, 0, 0),
    ):
        path = os.path.join(place, what)
        attempt(f"mknod {path}", lambda: os.mknod(path, kind | 0o666, os.makedev(major, minor)))
