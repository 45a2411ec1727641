# Every way to look into another process or to stop it.
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206


def look_into(who, pid):
    attempt(f"{who} attach", lambda: call("ptrace", PTRACE_ATTACH, pid, 0, 0))
    attempt(f"{who} seize", lambda: call("ptrace", PTRACE_SEIZE, pid, 0, 0))
    buffer = ctypes.create_string_buffer(16)
    ours = struct.pack("QQ", ctypes.addressof(buffer), 16)
    theirs = struct.pack("QQ", 0x400000, 16)
    attempt(f"{who} memory", lambda: call("process_vm_readv", pid, ours, 1, theirs, 1, 0))
    attempt(f"{who} descriptor", lambda: call("pidfd_getfd", call("pidfd_open", pid, 0), 0, 0))
    for file in ("mem", "environ", "maps", "fd/0", "root/etc", "cwd", "exe", "auxv", "stack"):
        path = f"/proc/{pid}/{file}"
        attempt(f"{who} {file}", lambda: os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK)))
    attempt(f"{who} limits", lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (1, 1)))
