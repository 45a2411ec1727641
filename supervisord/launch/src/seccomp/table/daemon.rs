//! What the daemon never does once it serves: whoever takes it over stays in its process. What the
//! launcher never does, it doesn't do either.

use crate::seccomp::verdict::{
    Argument, Constant, Errno, Group, Test, Verdict, argument, call, constant, recent, x86_64,
};

const CLONE_FLAGS: Argument = argument(0, "flags");
const NEW_NAMESPACES: Constant = constant("CLONE_NEW*", 0x7E02_0000 | 0x80);
const THREAD: Constant = constant("CLONE_THREAD", 0x1_0000);

const REQUEST: Argument = argument(1, "request");

/// What the runtime asks of descriptors, whether they are a terminal, and the size of payloads' terminals.
const REQUESTS: &[Constant] = &[
    constant("FIONBIO", 0x5421),
    constant("FIONREAD", 0x541B),
    constant("FIONCLEX", 0x5450),
    constant("FIOCLEX", 0x5451),
    constant("TCGETS", 0x5401),
    constant("TCGETS2", 0x802C_542A),
    constant("TIOCGWINSZ", 0x5413),
    constant("TIOCSWINSZ", 0x5414),
];

pub const GROUPS: &[Group] = &[
    Group {
        reason: "it starts threads and nothing else: no program, ever",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[call("execve", 59, 221), call("execveat", 322, 281)],
    },
    Group {
        reason: "threads: a process of its own would outlive it, and namespaces bring capabilities over \
                 all that is new in them",
        verdict: Verdict::AllowIf(
            &[&[Test::NoneOfBits(CLONE_FLAGS, NEW_NAMESPACES), Test::AllBits(CLONE_FLAGS, THREAD)]],
            Errno::EPERM,
        ),
        calls: &[call("clone", 56, 220)],
    },
    Group {
        reason: "no process, again",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[x86_64("fork", 57), x86_64("vfork", 58)],
    },
    Group {
        reason: "its flags are behind a pointer; the C library takes clone instead",
        verdict: Verdict::Deny(Errno::ENOSYS),
        calls: &[recent("clone3", 435)],
    },
    Group {
        reason: "namespaces, roots and mounts: it was given a small root to stay in",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[
            call("unshare", 272, 97),
            call("mount", 165, 40),
            call("umount2", 166, 39),
            call("pivot_root", 155, 41),
            recent("open_tree", 428),
            recent("open_tree_attr", 467),
            recent("move_mount", 429),
            recent("fsopen", 430),
            recent("fsconfig", 431),
            recent("fsmount", 432),
            recent("fspick", 433),
            recent("mount_setattr", 442),
        ],
    },
    Group {
        reason: "the limits of workspaces on disk; by attributes (Linux 6.17), as by requests below, the \
                 owner of a file would take it out of its quota's project",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[recent("quotactl_fd", 443), recent("file_setattr", 469)],
    },
    Group {
        reason: "every device and file system adds requests, and with one of them the owner of a \
                 file takes it out of its quota's project",
        verdict: Verdict::AllowIf(&[&[Test::OneOf(REQUEST, REQUESTS)]], Errno::EPERM),
        calls: &[call("ioctl", 16, 29)],
    },
    Group {
        reason: "devices, and the legacy address space",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[x86_64("mknod", 133), call("mknodat", 259, 33), call("personality", 135, 92)],
    },
    Group {
        reason: "signals to others: it ends sandboxes through their cgroups, and without privilege it \
                 has its caller's uid",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[
            call("kill", 62, 129),
            call("tkill", 200, 130),
            call("rt_sigqueueinfo", 129, 138),
            call("rt_tgsigqueueinfo", 297, 240),
            recent("pidfd_send_signal", 424),
        ],
    },
];
