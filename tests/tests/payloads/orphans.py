# Five processes in sessions of their own, without parent and without a descriptor.
for _ in range(5):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 256)
            time.sleep(300)
        os._exit(0)
print("the first process is done", flush=True)
