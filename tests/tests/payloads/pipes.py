# As many pipes as there may be, each as large as it may be, all of them full.
F_SETPIPE_SZ, total, ends = 1031, 0, []
refused = 0
try:
    while len(ends) < 400:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        try:
            fcntl.fcntl(writer, F_SETPIPE_SZ, 1 << 20)
        except OSError:
            refused += 1
        try:
            while True:
                total += os.write(writer, b"x" * 65536)
        except BlockingIOError:
            pass
        ends.append((reader, writer))
except OSError as problem:
    print("STOPPED", errno.errorcode[problem.errno])
print("PIPES", len(ends), refused, total, flush=True)
signal.pause()
