# Processes until no more are given, then threads until no more are given.
import threading

made = 0
try:
    while made < 5000:
        if os.fork() == 0:
            time.sleep(300)
            os._exit(0)
        made += 1
except OSError as problem:
    print("PROCESSES", made, errno.errorcode[problem.errno], flush=True)
made = 0
try:
    while made < 5000:
        threading.Thread(target=time.sleep, args=(300,), daemon=True).start()
        made += 1
except RuntimeError:
    print("THREADS", made, flush=True)
signal.pause()
