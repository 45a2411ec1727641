//! Memory of the process itself, shared memory, and what reaches into other processes' memory.

use crate::seccomp::verdict::{Errno, Group, Verdict, call, recent, x86_64};

pub const GROUPS: &[Group] = &[
    Group {
        reason: "its own address space; executable memory too: just-in-time compilers make it",
        verdict: Verdict::Allow,
        calls: &[
            call("mmap", 9, 222),
            call("munmap", 11, 215),
            call("mprotect", 10, 226),
            call("mremap", 25, 216),
            call("brk", 12, 214),
            call("madvise", 28, 233),
            call("mincore", 27, 232),
            call("msync", 26, 227),
            call("pkey_mprotect", 329, 288),
            call("pkey_alloc", 330, 289),
            call("pkey_free", 331, 290),
            call("membarrier", 324, 283),
            recent("map_shadow_stack", 453),
            recent("mseal", 462),
        ],
    },
    Group {
        reason: "bounded by RLIMIT_MEMLOCK; key stores and audio libraries lock a few pages",
        verdict: Verdict::Allow,
        calls: &[
            call("mlock", 149, 228),
            call("mlock2", 325, 284),
            call("munlock", 150, 229),
            call("mlockall", 151, 230),
            call("munlockall", 152, 231),
        ],
    },
    Group {
        reason: "System V shared memory and semaphores (PostgreSQL, X, MPI), in an ipc namespace \
                 of the sandbox's own and charged to its memory",
        verdict: Verdict::Allow,
        calls: &[
            call("shmget", 29, 194),
            call("shmat", 30, 196),
            call("shmctl", 31, 195),
            call("shmdt", 67, 197),
            call("semget", 64, 190),
            call("semop", 65, 193),
            call("semctl", 66, 191),
            call("semtimedop", 220, 192),
        ],
    },
    Group {
        reason: "message queues: next to nobody uses them, and their messages are the kernel \
                 exploit's favourite filling for freed memory, of any size and readable again",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[
            call("msgget", 68, 186),
            call("msgsnd", 69, 189),
            call("msgrcv", 70, 188),
            call("msgctl", 71, 187),
            call("mq_open", 240, 180),
            call("mq_unlink", 241, 181),
            call("mq_timedsend", 242, 182),
            call("mq_timedreceive", 243, 183),
            call("mq_notify", 244, 184),
            call("mq_getsetattr", 245, 185),
        ],
    },
    Group {
        reason: "asking where memory is: libnuma, and the mathematics libraries above it, do at \
                 start",
        verdict: Verdict::Allow,
        calls: &[call("get_mempolicy", 239, 236)],
    },
    Group {
        reason: "placing and moving memory on nodes shifts load to neighbours; container engines \
                 forbid it without CAP_SYS_NICE, so libraries (OpenBLAS at start) live without",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[
            call("set_mempolicy", 238, 237),
            recent("set_mempolicy_home_node", 450),
            call("mbind", 237, 235),
            call("migrate_pages", 256, 238),
            call("move_pages", 279, 239),
        ],
    },
    Group {
        reason: "other processes' memory and descriptors: debugging and comparing are how one \
                 process of a sandbox would take over another that holds more, and kernel holes \
                 beside",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[
            call("ptrace", 101, 117),
            call("process_vm_readv", 310, 270),
            call("process_vm_writev", 311, 271),
            recent("process_madvise", 440),
            recent("process_mrelease", 448),
            call("kcmp", 312, 272),
            recent("pidfd_getfd", 438),
        ],
    },
    Group {
        reason: "lets a program stop the kernel in the middle of its work, which turns races into \
                 certainties",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[call("userfaultfd", 323, 282)],
    },
    Group {
        reason: "memory that the kernel can't read, move or hibernate: nothing ordinary needs it",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[recent("memfd_secret", 447)],
    },
    Group {
        reason: "segments of the 16-bit past, a known source of kernel holes",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[x86_64("modify_ldt", 154)],
    },
];
