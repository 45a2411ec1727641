//! What the sandbox's own PID 1 may do once the payload runs.

use crate::seccomp::verdict::{
    Argument, Constant, Errno, Group, Test, Verdict, argument, call, constant, x86_64,
};

const PROTECTION: Argument = argument(2, "prot");
const FLAGS: Argument = argument(3, "flags");
const READ_WRITE: Constant = constant("PROT_READ|PROT_WRITE", 3);
const ANONYMOUS: Constant = constant("MAP_ANONYMOUS", 0x20);
const FCNTL_COMMAND: Argument = argument(1, "cmd");
const IS_OPEN: &[Constant] = &[constant("F_GETFD", 1)];
const REQUEST: Argument = argument(1, "request");
const QUESTIONS: &[Constant] = &[
    constant("SECCOMP_IOCTL_NOTIF_RECV", 0xC050_2100),
    constant("SECCOMP_IOCTL_NOTIF_SEND", 0xC018_2101),
];

pub const GROUPS: &[Group] = &[
    Group {
        reason: "waiting for the payload, reaping orphans, and what they used",
        verdict: Verdict::Allow,
        calls: &[call("waitid", 247, 95), call("wait4", 61, 260), call("getrusage", 98, 165)],
    },
    Group {
        reason: "reading what it is told and reporting, through descriptors it has",
        verdict: Verdict::Allow,
        calls: &[
            call("read", 0, 63),
            call("write", 1, 64),
            call("close", 3, 57),
            x86_64("poll", 7),
            call("ppoll", 271, 73),
            call("pread64", 17, 67),
        ],
    },
    Group {
        reason: "being asked whether there is room for one more record lock or listening socket, and answering",
        verdict: Verdict::AllowIf(&[&[Test::OneOf(REQUEST, QUESTIONS)]], Errno::EPERM),
        calls: &[call("ioctl", 16, 29)],
    },
    Group {
        reason: "builds with debug assertions look whether a descriptor is open before they close it",
        verdict: Verdict::AllowIf(&[&[Test::OneOf(FCNTL_COMMAND, IS_OPEN)]], Errno::EPERM),
        calls: &[call("fcntl", 72, 25)],
    },
    Group {
        reason: "its signals and its end",
        verdict: Verdict::Allow,
        calls: &[
            call("rt_sigaction", 13, 134),
            call("rt_sigprocmask", 14, 135),
            call("rt_sigreturn", 15, 139),
            call("sigaltstack", 131, 132),
            call("restart_syscall", 219, 128),
            call("exit", 60, 93),
            call("exit_group", 231, 94),
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
        calls: &[call("munmap", 11, 215), call("mremap", 25, 216), call("brk", 12, 214)],
    },
    Group {
        reason: "locks and clocks of the runtime library",
        verdict: Verdict::Allow,
        calls: &[call("futex", 202, 98), call("getpid", 39, 172), call("clock_gettime", 228, 113)],
    },
];
