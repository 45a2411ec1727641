//! futex(2), by operation.

use crate::seccomp::verdict::{
    Argument, Constant, Errno, Group, Test, Verdict, argument, call, constant, recent,
};

const OPERATION: Argument = argument(1, "futex_op");

const OPTIONS: Constant = constant("FUTEX_PRIVATE_FLAG|FUTEX_CLOCK_REALTIME", 0x180);

const OPERATIONS: &[Constant] = &[
    constant("FUTEX_WAIT", 0),
    constant("FUTEX_WAKE", 1),
    constant("FUTEX_REQUEUE", 3),
    constant("FUTEX_CMP_REQUEUE", 4),
    constant("FUTEX_WAKE_OP", 5),
    constant("FUTEX_WAIT_BITSET", 9),
    constant("FUTEX_WAKE_BITSET", 10),
];

pub const GROUPS: &[Group] = &[
    Group {
        reason: "every lock of every thread; without the priority-inheriting operations, whose \
                 requeueing had GhostLock (CVE-2026-43499). ENOSYS for those, because the C \
                 library asks once and then refuses to make such a mutex; EPERM makes it abort",
        verdict: Verdict::AllowIf(
            &[&[Test::OneOfWithout(OPERATION, OPTIONS, OPERATIONS)]],
            Errno::ENOSYS,
        ),
        calls: &[call("futex", 202, 98)],
    },
    Group {
        reason: "futex's successors, which have no priority inheritance, and its list of locks to \
                 release at exit",
        verdict: Verdict::Allow,
        calls: &[
            recent("futex_waitv", 449),
            recent("futex_wake", 454),
            recent("futex_wait", 455),
            recent("futex_requeue", 456),
            call("set_robust_list", 273, 99),
            call("get_robust_list", 274, 100),
        ],
    },
];
