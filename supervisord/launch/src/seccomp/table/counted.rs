//! What init is asked about, because no limit of the kernel's counts it. This filter is init's own as well as that of
//! all it starts; it has no say over what theirs deny.

use crate::seccomp::verdict::{Argument, Constant, Group, Test, Verdict, argument, call, constant};

const FCNTL_COMMAND: Argument = argument(1, "cmd");
const RECORD_LOCKS: &[Constant] = &[constant("F_SETLK", 6), constant("F_SETLKW", 7)];

pub const GROUPS: &[Group] = &[
    Group {
        reason: "the kernel looks at no number of record locks, and no memory controller is charged with them \
             (CVE-2022-0480). What is asked about is in registers, so nobody can change it while init looks",
        verdict: Verdict::AskIf(&[&[Test::OneOf(FCNTL_COMMAND, RECORD_LOCKS)]]),
        calls: &[call("fcntl", 72, 25)],
    },
    Group {
        reason: "what comes to a socket that listens and is not accepted is in nobody's memory, and how many sockets \
                 listen no limit counts. Which one it is isn't looked at",
        verdict: Verdict::Ask,
        calls: &[call("listen", 50, 201)],
    },
];
