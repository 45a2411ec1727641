//! What the unpacker of images may do once it reads an archive: whoever takes it over by one has a process
//! that makes files in one directory and ends.

use crate::seccomp::verdict::{
    Argument, Constant, Errno, Group, Test, Verdict, argument, call, constant, recent,
};

const PROTECTION: Argument = argument(2, "prot");
const FLAGS: Argument = argument(3, "flags");
const READ_WRITE: Constant = constant("PROT_READ|PROT_WRITE", 3);
const ANONYMOUS: Constant = constant("MAP_ANONYMOUS", 0x20);
const FCNTL_COMMAND: Argument = argument(1, "cmd");
const IS_OPEN: &[Constant] = &[constant("F_GETFD", 1)];

pub const GROUPS: &[Group] = &[
    Group {
        reason: "reading the archive and writing files and the answer, through descriptors it has",
        verdict: Verdict::Allow,
        calls: &[
            call("read", 0, 63),
            call("pread64", 17, 67),
            call("write", 1, 64),
            call("lseek", 8, 62),
            call("close", 3, 57),
            call("fstat", 5, 80),
            call("statx", 332, 291),
        ],
    },
    Group {
        reason: "making the tree; where, is Landlock's to say",
        verdict: Verdict::Allow,
        calls: &[
            recent("openat2", 437),
            call("mkdirat", 258, 34),
            call("linkat", 265, 37),
            call("symlinkat", 266, 36),
            call("fchown", 93, 55),
            call("fchownat", 260, 54),
            call("fchmod", 91, 52),
            call("utimensat", 280, 88),
        ],
    },
    Group {
        reason: "builds with debug assertions look whether a descriptor is open before they close it",
        verdict: Verdict::AllowIf(&[&[Test::OneOf(FCNTL_COMMAND, IS_OPEN)]], Errno::EPERM),
        calls: &[call("fcntl", 72, 25)],
    },
    Group {
        reason: "copying within the kernel, which the runtime library tries first and does without",
        verdict: Verdict::Deny(Errno::ENOSYS),
        calls: &[
            call("copy_file_range", 326, 285),
            call("sendfile", 40, 71),
            call("splice", 275, 76),
        ],
    },
    Group {
        reason: "memory for data: from nowhere but the kernel, and never executable",
        verdict: Verdict::AllowIf(
            &[&[Test::OnlyBits(PROTECTION, READ_WRITE), Test::AllBits(FLAGS, ANONYMOUS)]],
            Errno::EPERM,
        ),
        calls: &[call("mmap", 9, 222)],
    },
    Group {
        reason: "the allocator's other calls",
        verdict: Verdict::Allow,
        calls: &[
            call("munmap", 11, 215),
            call("mremap", 25, 216),
            call("brk", 12, 214),
            call("madvise", 28, 233),
        ],
    },
    Group {
        reason: "seeds of the runtime's tables, its locks, signals and end",
        verdict: Verdict::Allow,
        calls: &[
            call("getrandom", 318, 278),
            call("futex", 202, 98),
            call("rt_sigaction", 13, 134),
            call("rt_sigprocmask", 14, 135),
            call("rt_sigreturn", 15, 139),
            call("sigaltstack", 131, 132),
            call("exit", 60, 93),
            call("exit_group", 231, 94),
        ],
    },
];
