//! What the launcher never does, nor anything that it starts. It comes before init's and the
//! payload's own filters, which allow far less: this one is for a launcher that was taken over.

use crate::seccomp::verdict::{Errno, Group, Verdict, call, recent, x86_64};

pub const GROUPS: &[Group] = &[
    Group {
        reason: "code in the kernel, and what watches it",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[
            call("bpf", 321, 280),
            call("perf_event_open", 298, 241),
            call("init_module", 175, 105),
            call("finit_module", 313, 273),
            call("delete_module", 176, 106),
            call("kexec_load", 246, 104),
            call("kexec_file_load", 320, 294),
            call("syslog", 103, 116),
        ],
    },
    Group {
        // quotactl_fd is not here: it is how the launcher limits a workspace's project. It acts only on
        // file systems that the caller has a descriptor of, and init and payloads can't call it.
        reason: "the host's power, swap, quotas by device, clocks and ports",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[
            call("reboot", 169, 142),
            call("swapon", 167, 224),
            call("swapoff", 168, 225),
            call("acct", 163, 89),
            call("quotactl", 179, 60),
            call("settimeofday", 164, 170),
            call("clock_settime", 227, 112),
            x86_64("iopl", 172),
            x86_64("ioperm", 173),
            x86_64("modify_ldt", 154),
        ],
    },
    Group {
        reason: "other processes: the launcher knows its own by their pidfds",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[
            call("ptrace", 101, 117),
            call("process_vm_readv", 310, 270),
            call("process_vm_writev", 311, 271),
            recent("process_madvise", 440),
            call("kcmp", 312, 272),
            recent("pidfd_getfd", 438),
            call("setns", 308, 268),
        ],
    },
    Group {
        reason: "ways past paths, filters and the audit of files",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[
            call("open_by_handle_at", 304, 265),
            call("name_to_handle_at", 303, 264),
            call("fanotify_init", 300, 262),
            call("chroot", 161, 51),
            recent("io_uring_setup", 425),
            recent("io_uring_enter", 426),
            recent("io_uring_register", 427),
            call("userfaultfd", 323, 282),
        ],
    },
    Group {
        reason: "keyrings, which no namespace separates",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[
            call("add_key", 248, 217),
            call("keyctl", 250, 219),
            call("request_key", 249, 218),
        ],
    },
];
