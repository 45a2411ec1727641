//! What a payload's own filter allows and one sandbox or another can't. Each of these is a filter of its own, which
//! comes before the payload's and leaves all other calls to it.

use crate::seccomp::verdict::{
    Argument, Constant, Errno, Group, Test, Verdict, argument, call, constant,
};

const MEMFD_FLAGS: Argument = argument(1, "flags");
const NEVER_EXECUTED: Constant = constant("MFD_NOEXEC_SEAL", 0x8);

/// Where memory is watched by looking at processes.
pub const UNSEEN: &[Group] = &[Group {
    reason: "what is written to such a file and not mapped shows in no process: nobody sees it",
    verdict: Verdict::Deny(Errno::ENOSYS),
    calls: &[call("memfd_create", 319, 279)],
}];

/// The same, where the ipc namespace takes no bounds either.
pub const UNBOUND: &[Group] = &[Group {
    reason: "a segment that nobody has attached shows in no process, nor does what the kernel keeps of \
             semaphores, and nothing bounds either: as on a kernel without System V's ways",
    verdict: Verdict::Deny(Errno::ENOSYS),
    calls: &[call("shmget", 29, 194), call("semget", 64, 190)],
}];

/// Where nothing that was written may be executed.
pub const NO_EXEC: &[Group] = &[Group {
    reason: "a file in memory is on no mount that forbids executing, and Landlock has no rule for it; the \
             answer is that of vm.memfd_noexec=2, which only the host's root could set for a sandbox. Kernels \
             before 6.3 don't know the flag, so there are no such files there",
    verdict: Verdict::AllowIf(&[&[Test::AllBits(MEMFD_FLAGS, NEVER_EXECUTED)]], Errno::EACCES),
    calls: &[call("memfd_create", 319, 279)],
}];
