//! Memory of the process itself, shared memory, and what reaches into other processes' memory.

use crate::seccomp::verdict::{
    Argument, Constant, Errno, Group, Test, Verdict, argument, call, constant, recent, x86_64,
};

const MAP_FLAGS: Argument = argument(3, "flags");
const HUGE_MAPPING: Constant = constant("MAP_HUGETLB", 0x4_0000);
const SEGMENT_FLAGS: Argument = argument(2, "shmflg");
const HUGE_SEGMENT: Constant = constant("SHM_HUGETLB", 0x800);

const ADVICE: Argument = argument(2, "advice");

/// Not here: MADV_MERGEABLE; MADV_HWPOISON and MADV_SOFT_OFFLINE, which take a capability.
const ADVICES: &[Constant] = &[
    constant("MADV_NORMAL", 0),
    constant("MADV_RANDOM", 1),
    constant("MADV_SEQUENTIAL", 2),
    constant("MADV_WILLNEED", 3),
    constant("MADV_DONTNEED", 4),
    constant("MADV_FREE", 8),
    constant("MADV_REMOVE", 9),
    constant("MADV_DONTFORK", 10),
    constant("MADV_DOFORK", 11),
    constant("MADV_UNMERGEABLE", 13),
    constant("MADV_HUGEPAGE", 14),
    constant("MADV_NOHUGEPAGE", 15),
    constant("MADV_DONTDUMP", 16),
    constant("MADV_DODUMP", 17),
    constant("MADV_WIPEONFORK", 18),
    constant("MADV_KEEPONFORK", 19),
    constant("MADV_COLD", 20),
    constant("MADV_PAGEOUT", 21),
    constant("MADV_POPULATE_READ", 22),
    constant("MADV_POPULATE_WRITE", 23),
    constant("MADV_DONTNEED_LOCKED", 24),
    constant("MADV_COLLAPSE", 25),
    constant("MADV_GUARD_INSTALL", 102),
    constant("MADV_GUARD_REMOVE", 103),
];

pub const GROUPS: &[Group] = &[
    Group {
        reason: "its own address space; executable memory too: just-in-time compilers make it",
        verdict: Verdict::Allow,
        calls: &[
            call("munmap", 11, 215),
            call("mprotect", 10, 226),
            call("mremap", 25, 216),
            call("brk", 12, 214),
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
        reason: "the same, but of pages that memory.max counts: huge ones come from a pool of the host's \
                 (for its databases and virtual machines), so it seems to have none",
        verdict: Verdict::AllowIf(&[&[Test::NoneOfBits(MAP_FLAGS, HUGE_MAPPING)]], Errno::EINVAL),
        calls: &[call("mmap", 9, 222)],
    },
    Group {
        reason: "what it will do with its memory, but not that it may be merged with equal pages of \
                 others: how long a write to one takes tells what they hold; a kernel that can't \
                 merge says EINVAL",
        verdict: Verdict::AllowIf(&[&[Test::OneOf(ADVICE, ADVICES)]], Errno::EINVAL),
        calls: &[call("madvise", 28, 233)],
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
                 of the sandbox's own and charged to its memory, or bounded by init",
        verdict: Verdict::Allow,
        calls: &[
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
        reason: "the same, but no huge pages of the host's",
        verdict: Verdict::AllowIf(
            &[&[Test::NoneOfBits(SEGMENT_FLAGS, HUGE_SEGMENT)]],
            Errno::EINVAL,
        ),
        calls: &[call("shmget", 29, 194)],
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
