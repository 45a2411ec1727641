//! Clocks, timers and random numbers.

use crate::seccomp::verdict::{Errno, Group, Verdict, call, x86_64};

pub const GROUPS: &[Group] = &[
    Group {
        reason: "reading clocks and sleeping",
        verdict: Verdict::Allow,
        calls: &[
            call("clock_gettime", 228, 113),
            call("clock_getres", 229, 114),
            call("clock_nanosleep", 230, 115),
            call("nanosleep", 35, 101),
            call("gettimeofday", 96, 169),
            x86_64("time", 201),
        ],
    },
    Group {
        reason: "timers of the process itself",
        verdict: Verdict::Allow,
        calls: &[
            x86_64("alarm", 37),
            call("getitimer", 36, 102),
            call("setitimer", 38, 103),
            call("timer_create", 222, 107),
            call("timer_settime", 223, 110),
            call("timer_gettime", 224, 108),
            call("timer_getoverrun", 225, 109),
            call("timer_delete", 226, 111),
            call("timerfd_create", 283, 85),
            call("timerfd_settime", 286, 86),
            call("timerfd_gettime", 287, 87),
        ],
    },
    Group {
        reason: "random numbers",
        verdict: Verdict::Allow,
        calls: &[call("getrandom", 318, 278)],
    },
    Group {
        reason: "the host's clock; whether adjtimex only reads is behind a pointer, and nobody \
                 here disciplines a clock",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[
            call("settimeofday", 164, 170),
            call("clock_settime", 227, 112),
            call("adjtimex", 159, 171),
            call("clock_adjtime", 305, 266),
        ],
    },
];
