//! Files, directories and descriptors.

use crate::seccomp::verdict::{
    Argument, Constant, Errno, Group, Test, Verdict, argument, call, constant, recent, x86_64,
};

/// The third bit field of mode_t is what kind of file it is; the rest are permissions, which the
/// kernel cuts to 16 bits itself.
const PERMISSIONS: Constant = constant("permissions", !0xF000);

/// Kinds of files that are no way to a device. 0 makes a regular file too.
const PLAIN_KINDS: &[Constant] = &[
    constant("0", 0),
    constant("S_IFREG", 0x8000),
    constant("S_IFIFO", 0x1000),
    constant("S_IFSOCK", 0xC000),
];

const MKNOD_MODE: Argument = argument(1, "mode");
const MKNODAT_MODE: Argument = argument(2, "mode");
const FCNTL_COMMAND: Argument = argument(1, "cmd");
const MEMFD_FLAGS: Argument = argument(1, "flags");
const HUGE_FILE: Constant = constant("MFD_HUGETLB", 4);
const WATCH_MASK: Argument = argument(2, "mask");
const USE: Constant = constant("IN_ACCESS|IN_CLOSE_NOWRITE|IN_OPEN", 0x31);

const ADVICE: Argument = argument(3, "advice");

/// Not here: POSIX_FADV_DONTNEED.
const ADVICES: &[Constant] = &[
    constant("POSIX_FADV_NORMAL", 0),
    constant("POSIX_FADV_RANDOM", 1),
    constant("POSIX_FADV_SEQUENTIAL", 2),
    constant("POSIX_FADV_WILLNEED", 3),
    constant("POSIX_FADV_NOREUSE", 5),
];

const TRANSFER_FLAGS: Argument = argument(5, "flags");
const IN_CACHE: Constant = constant("RWF_NOWAIT|RWF_DONTCACHE", 0x88);

/// Not here: F_SETPIPE_SZ, since standard streams are pipes that root made, and it is root's share that they
/// would grow by; F_SETLEASE and F_NOTIFY; F_OFD_SETLK, F_OFD_SETLKW and F_OFD_GETLK, by which programs find out
/// whether there are the other two.
const FCNTL_COMMANDS: &[Constant] = &[
    constant("F_DUPFD", 0),
    constant("F_GETFD", 1),
    constant("F_SETFD", 2),
    constant("F_GETFL", 3),
    constant("F_SETFL", 4),
    constant("F_GETLK", 5),
    constant("F_SETLK", 6),
    constant("F_SETLKW", 7),
    constant("F_SETOWN", 8),
    constant("F_GETOWN", 9),
    constant("F_SETSIG", 10),
    constant("F_GETSIG", 11),
    constant("F_SETOWN_EX", 15),
    constant("F_GETOWN_EX", 16),
    constant("F_DUPFD_QUERY", 1027),
    constant("F_DUPFD_CLOEXEC", 1030),
    constant("F_GETPIPE_SZ", 1032),
    constant("F_ADD_SEALS", 1033),
    constant("F_GET_SEALS", 1034),
];

pub const GROUPS: &[Group] = &[
    Group {
        reason: "transfers between memory and descriptors that the program has",
        verdict: Verdict::Allow,
        calls: &[
            call("read", 0, 63),
            call("write", 1, 64),
            call("pread64", 17, 67),
            call("pwrite64", 18, 68),
            call("readv", 19, 65),
            call("writev", 20, 66),
            call("preadv", 295, 69),
            call("pwritev", 296, 70),
            call("lseek", 8, 62),
            call("readahead", 187, 213),
        ],
    },
    Group {
        reason: "the same, but not to ask what of a file the host has in memory, which tells what its \
                 other programs read, nor to take it out of there; a file system that can't says EOPNOTSUPP",
        verdict: Verdict::AllowIf(
            &[&[Test::NoneOfBits(TRANSFER_FLAGS, IN_CACHE)]],
            Errno::EOPNOTSUPP,
        ),
        calls: &[call("preadv2", 327, 286), call("pwritev2", 328, 287)],
    },
    Group {
        reason: "how it will read a file, but not that the host is to drop it from memory: who reads it \
                 next would be seen by how long that takes",
        verdict: Verdict::AllowIf(&[&[Test::OneOf(ADVICE, ADVICES)]], Errno::EINVAL),
        calls: &[call("fadvise64", 221, 223)],
    },
    Group {
        reason: "copies that cp, git, Python and Node make inside the kernel; both ends are files \
                 that the program could read and write anyway",
        verdict: Verdict::Allow,
        calls: &[call("copy_file_range", 326, 285)],
    },
    Group {
        reason: "they put page-cache pages of read-only files into pipes and sockets, the first \
                 half of Dirty Pipe and Copy Fail, and the image's files are the host's own; \
                 EINVAL says that these descriptors can't do it, on which every user of the calls \
                 copies instead (Go's network copies give up on anything else). sendfile is splice by \
                 another name; of ordinary programs only nginx has to be told (sendfile off)",
        verdict: Verdict::Deny(Errno::EINVAL),
        calls: &[
            call("splice", 275, 76),
            call("tee", 276, 77),
            call("vmsplice", 278, 75),
            call("sendfile", 40, 71),
        ],
    },
    Group {
        reason: "opening, closing and duplicating; what can be opened is decided by the mounts, \
                 the modes and Landlock, because a filter can't look behind a pointer",
        verdict: Verdict::Allow,
        calls: &[
            x86_64("open", 2),
            x86_64("creat", 85),
            call("openat", 257, 56),
            recent("openat2", 437),
            call("close", 3, 57),
            recent("close_range", 436),
            call("dup", 32, 23),
            x86_64("dup2", 33),
            call("dup3", 292, 24),
            x86_64("pipe", 22),
            call("pipe2", 293, 59),
        ],
    },
    Group {
        reason: "files in memory, which is charged to the sandbox; huge pages come from a pool of the \
                 host's that no limit of the sandbox counts, so it seems to have none",
        verdict: Verdict::AllowIf(&[&[Test::NoneOfBits(MEMFD_FLAGS, HUGE_FILE)]], Errno::EINVAL),
        calls: &[call("memfd_create", 319, 279)],
    },
    Group {
        reason: "leases, directory notices and write hints are left out: leases and notices on \
                 shared files are a channel between sandboxes, and nothing ordinary uses the rest. \
                 Record locks stay, databases need them, and init counts them; those of an open file \
                 (F_OFD_SETLK) can't be counted, since /proc/locks names no process for them. EINVAL is \
                 what a kernel without a command says, on which programs take the older locks",
        verdict: Verdict::AllowIf(&[&[Test::OneOf(FCNTL_COMMAND, FCNTL_COMMANDS)]], Errno::EINVAL),
        calls: &[call("fcntl", 72, 25)],
    },
    Group {
        reason: "locks for build tools and databases; what the image holds is shared, so a lock on \
                 it is a slow channel to a neighbour, as load and timing are too",
        verdict: Verdict::Allow,
        calls: &[call("flock", 73, 32)],
    },
    Group {
        reason: "looking at files and directories",
        verdict: Verdict::Allow,
        calls: &[
            x86_64("stat", 4),
            call("fstat", 5, 80),
            x86_64("lstat", 6),
            call("newfstatat", 262, 79),
            call("statx", 332, 291),
            call("statfs", 137, 43),
            call("fstatfs", 138, 44),
            x86_64("access", 21),
            call("faccessat", 269, 48),
            recent("faccessat2", 439),
            x86_64("readlink", 89),
            call("readlinkat", 267, 78),
            x86_64("getdents", 78),
            call("getdents64", 217, 61),
            call("getcwd", 79, 17),
            call("chdir", 80, 49),
            call("fchdir", 81, 50),
            call("umask", 95, 166),
        ],
    },
    Group {
        reason: "making, renaming and removing names",
        verdict: Verdict::Allow,
        calls: &[
            x86_64("mkdir", 83),
            call("mkdirat", 258, 34),
            x86_64("rmdir", 84),
            x86_64("link", 86),
            call("linkat", 265, 37),
            x86_64("symlink", 88),
            call("symlinkat", 266, 36),
            x86_64("unlink", 87),
            call("unlinkat", 263, 35),
            x86_64("rename", 82),
            call("renameat", 264, 38),
            call("renameat2", 316, 276),
        ],
    },
    Group {
        reason: "FIFOs and plain files only: devices need a capability, but the overlay's \
                 whiteout (a device 0:0) doesn't, and nobody has to make one",
        verdict: Verdict::AllowIf(
            &[&[Test::OneOfWithout(MKNOD_MODE, PERMISSIONS, PLAIN_KINDS)]],
            Errno::EPERM,
        ),
        calls: &[x86_64("mknod", 133)],
    },
    Group {
        reason: "as mknod",
        verdict: Verdict::AllowIf(
            &[&[Test::OneOfWithout(MKNODAT_MODE, PERMISSIONS, PLAIN_KINDS)]],
            Errno::EPERM,
        ),
        calls: &[call("mknodat", 259, 33)],
    },
    Group {
        reason: "sizes and durability of files the program can write",
        verdict: Verdict::Allow,
        calls: &[
            call("truncate", 76, 45),
            call("ftruncate", 77, 46),
            call("fallocate", 285, 47),
            call("fsync", 74, 82),
            call("fdatasync", 75, 83),
            call("sync_file_range", 277, 84),
        ],
    },
    Group {
        reason: "write back file systems of the host, one of which a read-only file of the image is \
                 on: work that no limit of the sandbox is charged with; the C library's sync() has no \
                 result, so programs don't notice",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[call("sync", 162, 81), call("syncfs", 306, 267)],
    },
    Group {
        reason: "modes, owners and times of its own files; there is one id to own them, no \
                 capability, and set-id bits do nothing on these mounts",
        verdict: Verdict::Allow,
        calls: &[
            x86_64("chmod", 90),
            call("fchmod", 91, 52),
            call("fchmodat", 268, 53),
            recent("fchmodat2", 452),
            x86_64("chown", 92),
            call("fchown", 93, 55),
            x86_64("lchown", 94),
            call("fchownat", 260, 54),
            x86_64("utime", 132),
            x86_64("utimes", 235),
            x86_64("futimesat", 261),
            call("utimensat", 280, 88),
        ],
    },
    Group {
        reason: "cp -a and tar read them, rsync writes user ones; the others need capabilities",
        verdict: Verdict::Allow,
        calls: &[
            call("setxattr", 188, 5),
            call("lsetxattr", 189, 6),
            call("fsetxattr", 190, 7),
            call("getxattr", 191, 8),
            call("lgetxattr", 192, 9),
            call("fgetxattr", 193, 10),
            call("listxattr", 194, 11),
            call("llistxattr", 195, 12),
            call("flistxattr", 196, 13),
            call("removexattr", 197, 14),
            call("lremovexattr", 198, 15),
            call("fremovexattr", 199, 16),
            recent("setxattrat", 463),
            recent("getxattrat", 464),
            recent("listxattrat", 465),
            recent("removexattrat", 466),
        ],
    },
    Group {
        reason: "waiting for descriptors, and descriptors to wait with",
        verdict: Verdict::Allow,
        calls: &[
            x86_64("poll", 7),
            call("ppoll", 271, 73),
            x86_64("select", 23),
            call("pselect6", 270, 72),
            x86_64("epoll_create", 213),
            call("epoll_create1", 291, 20),
            call("epoll_ctl", 233, 21),
            x86_64("epoll_wait", 232),
            call("epoll_pwait", 281, 22),
            recent("epoll_pwait2", 441),
            x86_64("eventfd", 284),
            call("eventfd2", 290, 19),
        ],
    },
    Group {
        reason: "watching files, as build tools and editors do; the kernel bounds it for each user",
        verdict: Verdict::Allow,
        calls: &[
            x86_64("inotify_init", 253),
            call("inotify_init1", 294, 26),
            call("inotify_rm_watch", 255, 28),
        ],
    },
    Group {
        reason: "changes, as build tools and editors watch them, and not who opens and reads: the \
                 image's files are the host's own, and the kernel tells of everybody's use of them, \
                 so that a watch would show which programs the host and its neighbours start, and when",
        verdict: Verdict::AllowIf(&[&[Test::NoneOfBits(WATCH_MASK, USE)]], Errno::EPERM),
        calls: &[call("inotify_add_watch", 254, 27)],
    },
    Group {
        reason: "asynchronous I/O has its own way around every check of the ordinary calls and a \
                 long record of holes; aio's slots are one pool for the whole host",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[
            recent("io_uring_setup", 425),
            recent("io_uring_enter", 426),
            recent("io_uring_register", 427),
            call("io_setup", 206, 0),
            call("io_destroy", 207, 1),
            call("io_getevents", 208, 4),
            call("io_submit", 209, 2),
            call("io_cancel", 210, 3),
            call("io_pgetevents", 333, 292),
        ],
    },
    Group {
        reason: "file handles reach beneath any root (the shocker escape), fanotify watches whole \
                 mounts",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[
            call("name_to_handle_at", 303, 264),
            call("open_by_handle_at", 304, 265),
            call("fanotify_init", 300, 262),
            call("fanotify_mark", 301, 263),
        ],
    },
    Group {
        reason: "inode flags and project ids: immutable files and other projects would escape \
                 the workspace's quota and removal (as the ioctls of the same purpose)",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[recent("file_setattr", 469)],
    },
];
