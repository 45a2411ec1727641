# Everything but plain files, and files with more than one name.
os.makedirs("out/directory")
for source in ("/usr/bin/env", "/etc/passwd", "/proc/version"):
    attempt("link " + source, lambda: os.link(source, "out/" + os.path.basename(source)))
open("out/one", "w").write("1")
os.link("out/one", "out/two")
os.mkfifo("out/fifo")
attempt("socket", lambda: os.mknod("out/socket", stat.S_IFSOCK | 0o600))
attempt("device", lambda: os.mknod("out/device", stat.S_IFCHR | 0o666, os.makedev(1, 3)))
open("out/plain", "w").write("plain")
os.chmod("out/plain", 0o6755)
open("out/shut", "w").write("shut")
os.chmod("out/shut", 0)
