//! Exit statuses. `run` passes the payload's own through and keeps to what timeout(1), env(1) and
//! the shells do with the rest; the other commands use the numbers of sysexits.h where it has one.

use supervisor_api::{Execution, Limit, Outcome};

/// The command did what was asked.
pub const SUCCESS: u8 = 0;
/// The command could not do it, or the answer is no.
pub const FAILED: u8 = 1;
/// `policy`: what was handed in can't be judged, because it is no valid policy, request or log.
pub const BAD_INPUT: u8 = 2;
/// Bad usage (EX_USAGE).
pub const USAGE: u8 = 64;
/// The daemon can't be reached (EX_UNAVAILABLE).
pub const UNREACHABLE: u8 = 69;
/// The daemon does not allow it (EX_NOPERM).
pub const NOT_PERMITTED: u8 = 77;
/// `run`: a time limit was reached, as timeout(1) says it.
pub const TIMED_OUT: u8 = 124;
/// `run`: something other than the payload failed.
pub const OURS: u8 = 125;
/// `run`: the program can't be executed, as the shells say it.
pub const NOT_EXECUTABLE: u8 = 126;
/// `run`: the program was not found, as the shells say it.
pub const NOT_FOUND: u8 = 127;
/// What the shells add to the number of the signal that ended a program.
pub const SIGNAL_BASE: u8 = 128;
/// Ended by the operator's interrupt (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;
/// `run`: ended because a limit was reached (128 + SIGKILL).
pub const KILLED: u8 = 137;
/// Nobody reads our output (128 + SIGPIPE).
pub const OUTPUT_CLOSED: u8 = 141;

/// The table in the help text of `run`.
pub const RUN_TABLE: &str = "\
Ctrl-C cancels the execution and still shows the result; a second one within a second leaves the
execution running and says its id.

Examples:
  supervisorctl run --time 10s -- python3 -c 'print(6 * 7)'
  supervisorctl run --language python --file data.csv --artifact '*.png' analysis.py data.csv
  supervisorctl run -it -- bash -l
  echo 'echo $HOSTNAME' | supervisorctl run --standalone --language bash -

Exit status:
  0-255  the payload's own, if it exited
  124    the wall time or the CPU time was up
  125    something other than the payload failed: bad usage, a refused submission, the daemon
         can't be reached, the sandbox could not be made, an artifact could not be saved
  126    the program can't be executed
  127    the program was not found
  128+n  signal n ended the payload
  130    cancelled, or interrupted by Ctrl-C
  137    out of memory, or another limit ended it
  141    nobody reads our standard output any more; the execution was cancelled";

/// The table in the help text of the whole command.
pub const TABLE: &str = "\
Exit status (`run` has its own, see `supervisorctl run --help`):
  0    done; for doctor: every control is enforced; for policy check: every file is valid;
       for audit verify: the log is whole
  1    not done, or the answer is no, or it could not be written; for policy explain: not simply
       allowed; for policy test: an example fails; for policy diff and replay: something changes
  2    policy explain, test, diff, replay, learn: the policies, the request or the log are not valid
  64   bad usage
  69   the daemon can't be reached
  77   not permitted, or denied by policy
  130  interrupted
  141  nobody reads our standard output any more";

/// Names of errors after which another attempt to execute the same file fails alike.
const NOT_EXECUTABLE_ERRORS: [&str; 8] =
    ["EACCES", "EPERM", "ENOEXEC", "EISDIR", "ETXTBSY", "ELIBBAD", "ELOOP", "EINVAL"];

/// The exit status of `run` for this execution.
pub fn of(execution: &Execution) -> u8 {
    match &execution.outcome {
        Some(Outcome::Exited { code }) => *code,
        Some(Outcome::Signaled { signal, .. }) => SIGNAL_BASE.saturating_add(*signal),
        Some(Outcome::TimedOut) => TIMED_OUT,
        Some(Outcome::LimitExceeded { limit: Limit::CpuTime | Limit::WallTime }) => TIMED_OUT,
        Some(Outcome::OutOfMemory | Outcome::LimitExceeded { .. }) => KILLED,
        Some(Outcome::Cancelled) => INTERRUPTED,
        Some(Outcome::SetupFailed { step, reason }) if step == "exec" => of_exec(reason),
        Some(Outcome::SetupFailed { .. } | Outcome::Lost { .. }) | None => OURS,
    }
}

/// The daemon's reason starts with the name of execve's error.
fn of_exec(reason: &str) -> u8 {
    let name = reason.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    match name {
        "ENOENT" | "ENOTDIR" => NOT_FOUND,
        _ if NOT_EXECUTABLE_ERRORS.contains(&name) => NOT_EXECUTABLE,
        _ => OURS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_and_one_that_may_not_run_are_told_apart() {
        assert_eq!(of_exec("ENOENT: no such file"), 127);
        assert_eq!(of_exec("EACCES: permission denied"), 126);
        assert_eq!(of_exec("ENOEXEC"), 126);
        assert_eq!(of_exec("ENOMEM: no memory for the new image"), 125);
        assert_eq!(of_exec(""), 125);
    }
}
