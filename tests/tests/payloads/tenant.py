# Leaves its name wherever something could be left.
MARK = b"TENANT" + b"-A-"
page = MARK * (4096 // len(MARK))
for path in ("/workspace/mark", "/tmp/mark", "/dev/shm/mark"):
    try:
        with open(path, "wb", buffering=0) as file:
            while True:
                file.write(page * 256)
    except OSError:
        pass  # full, as it should be
held = [bytearray(page * 256) for _ in range(64)]
try:
    os.write(os.memfd_create("mark"), page * 256)
except OSError:
    pass  # where memory is watched by looking, there are none
print("left", len(held))
