"""What attacks are written with. Each attempt prints one line: its verdict, its name, and what it
gave or the error that it met, with tabs between."""
import ctypes, errno, fcntl, mmap, os, platform, resource, signal, socket, stat, struct, sys, time

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_COLUMN = {"x86_64": 0, "aarch64": 1}[platform.machine()]
# Numbers of system calls: x86-64 and arm64 (arch/x86/entry/syscalls, include/uapi/asm-generic).
_NUMBERS = {
    "ioctl": (16, 29), "shmget": (29, 194), "semget": (64, 190), "socket": (41, 198), "clone": (56, 220), "ptrace": (101, 117),
    "personality": (135, 92), "pivot_root": (155, 41), "prctl": (157, 167), "chroot": (161, 51),
    "mount": (165, 40), "umount2": (166, 39), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "unshare": (272, 97), "setns": (308, 268),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "process_vm_readv": (310, 270), "renameat2": (316, 276), "seccomp": (317, 277),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "open_tree": (428, 428), "fsopen": (430, 430), "clone3": (435, 435),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
}


def call(which, *arguments):
    """A system call by name or number; numbers go as they are, all 64 bits of them."""
    number = which if isinstance(which, int) else _NUMBERS[which][_COLUMN]
    words = [ctypes.c_ulong(a % 2**64) if isinstance(a, int) else a for a in arguments]
    ctypes.set_errno(0)
    result = _libc.syscall(ctypes.c_long(number), *words)
    if result == -1:
        raise OSError(ctypes.get_errno(), "")
    return result


def attempt(name, action):
    """Does it and tells how it went."""
    try:
        verdict, what = "ALLOWED", repr(action())
    except OSError as problem:
        verdict, what = "DENIED", errno.errorcode.get(problem.errno, str(problem.errno))
    except ValueError as problem:
        verdict, what = "DENIED", "ValueError"
    print(verdict, name, what[:200], sep="\t", flush=True)


def read(path, most=64):
    """The first bytes of a file; never waits for a writer."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(descriptor, most)
    finally:
        os.close(descriptor)


def write(path, what=b"x", flags=0):
    """Writes to a file and gives the number of bytes."""
    descriptor = os.open(path, os.O_WRONLY | flags, 0o600)
    try:
        return os.write(descriptor, what)
    finally:
        os.close(descriptor)


def in_child(action):
    """Calls something that returns twice; the child ends at once."""
    pid = action()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "a child"
