# Memory that is written to, in several processes at once if asked for.
import gc


def hoard(most):
    held = []
    try:
        while len(held) < most >> 20:
            held.append(b"x" * (1 << 20))
    except MemoryError:
        pass
    print("HELD", len(held), flush=True)
    signal.pause()


processes, most = int(sys.argv[1]), int(sys.argv[2])
print("begins", flush=True)
for _ in range(processes - 1):
    if os.fork() == 0:
        hoard(most)
hoard(most)
