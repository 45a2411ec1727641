//! prctl(2), by option, its kin, and confinement that a program puts on itself.

use crate::seccomp::verdict::{
    Argument, Constant, Errno, Group, Test, Verdict, argument, call, constant, recent, x86_64,
};

const OPTION: Argument = argument(0, "option");

const OPTIONS: &[Constant] = &[
    // Names, signals, orphans and timers of the process itself. PR_SET_DUMPABLE opens a process
    // only to its own kind.
    constant("PR_SET_PDEATHSIG", 1),
    constant("PR_GET_PDEATHSIG", 2),
    constant("PR_GET_DUMPABLE", 3),
    constant("PR_SET_DUMPABLE", 4),
    constant("PR_SET_NAME", 15),
    constant("PR_GET_NAME", 16),
    constant("PR_SET_TIMERSLACK", 29),
    constant("PR_GET_TIMERSLACK", 30),
    constant("PR_SET_CHILD_SUBREAPER", 36),
    constant("PR_GET_CHILD_SUBREAPER", 37),
    // How it is confined: looking, and the one that only takes away.
    constant("PR_GET_KEEPCAPS", 7),
    constant("PR_GET_SECCOMP", 21),
    constant("PR_CAPBSET_READ", 23),
    constant("PR_GET_SECUREBITS", 27),
    constant("PR_SET_NO_NEW_PRIVS", 38),
    constant("PR_GET_NO_NEW_PRIVS", 39),
    constant("PR_GET_SPECULATION_CTRL", 52),
    // Its memory: huge pages, names of mappings (allocators and Go set them), the auxiliary vector.
    constant("PR_SET_THP_DISABLE", 41),
    constant("PR_GET_THP_DISABLE", 42),
    constant("PR_SET_VMA", 0x5356_4D41),
    constant("PR_GET_AUXV", 0x4155_5856),
    // Vector lengths and return-address protection on aarch64; the C library sets the latter.
    constant("PR_SVE_GET_VL", 51),
    constant("PR_SME_GET_VL", 64),
    constant("PR_GET_SHADOW_STACK_STATUS", 74),
    constant("PR_SET_SHADOW_STACK_STATUS", 75),
    constant("PR_LOCK_SHADOW_STACK_STATUS", 76),
    // Not here, among others: PR_SET_SECCOMP, PR_SET_MM, PR_SET_PTRACER; PR_SCHED_CORE (keeps
    // neighbours off a core's other thread); PR_SET_MEMORY_MERGE (merged pages tell what others
    // hold); PR_SET_SPECULATION_CTRL (switches mitigations off); PR_SET_SYSCALL_USER_DISPATCH.
];

pub const GROUPS: &[Group] = &[
    Group {
        reason: "names, timers and questions about itself; no filters, no capabilities, no \
                 mitigations off, nothing that shares with or shuts out neighbours",
        verdict: Verdict::AllowIf(&[&[Test::OneOf(OPTION, OPTIONS)]], Errno::EPERM),
        calls: &[call("prctl", 157, 167)],
    },
    Group {
        reason: "thread pointers, shadow stacks and wide registers of the calling thread",
        verdict: Verdict::Allow,
        calls: &[x86_64("arch_prctl", 158)],
    },
    Group {
        reason: "a program may confine itself further",
        verdict: Verdict::Allow,
        calls: &[
            recent("landlock_create_ruleset", 444),
            recent("landlock_add_rule", 445),
            recent("landlock_restrict_self", 446),
        ],
    },
    Group {
        reason: "filters of the payload's own would load BPF into the kernel and could hand its \
                 calls to a listener; so this filter is the last",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[call("seccomp", 317, 277)],
    },
    Group {
        reason: "keys outlive the sandbox and are not its own",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[
            call("add_key", 248, 217),
            call("request_key", 249, 218),
            call("keyctl", 250, 219),
        ],
    },
];
