# Links of every kind to what is not the payload's.
os.makedirs("out/sub")
open("out/honest", "w").write("honest")
for name, target in (
    ("absolute", "/etc/shadow"), ("relative", "../../../../../../root/canary"),
    ("descriptor", "/proc/self/fd/0"), ("other", "/proc/1/cwd/etc/shadow"), ("loop", "loop"),
    ("chain", "absolute"), ("directory", "/root"), ("self", "/proc/self/environ"),
    ("honest-link", "honest"), ("own-directory", "sub"),
):
    os.symlink(target, "out/" + name)
os.symlink("/root", "out/sub/up")
open("out/sub/deep", "w").write("deep")
