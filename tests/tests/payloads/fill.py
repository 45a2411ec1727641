# Fills a file until the file system has no more.
def fill(name, path, most=1 << 30):
    written = 0
    try:
        with open(path, "wb", buffering=0) as file:
            while written < most:
                written += file.write(b"x" * (1 << 20))
        print("FULL", name, written, "never", flush=True)
    except OSError as problem:
        print("FULL", name, written, errno.errorcode[problem.errno], flush=True)


def populate(name, directory, most=200000):
    made = 0
    try:
        while made < most:
            os.close(os.open(f"{directory}/{made}", os.O_CREAT | os.O_WRONLY, 0o600))
            made += 1
        print("FULL", name, made, "never", flush=True)
    except OSError as problem:
        print("FULL", name, made, errno.errorcode[problem.errno], flush=True)
