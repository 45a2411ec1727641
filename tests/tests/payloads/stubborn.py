# Ignores every signal that can be ignored, and has a child that stands still and one that spins.
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass  # the ones that can't be ignored
_libc.prctl(1, 0, 0, 0, 0)  # not with its parent
if os.fork() == 0:
    os.kill(os.getpid(), signal.SIGSTOP)
if os.fork() == 0:
    while True:
        pass
print("here to stay", flush=True)
while True:
    time.sleep(1)
