//! Limits that this supervisor was left by whoever started it, where a process of an execution is to have more: nobody
//! gets back what was taken away from it (setrlimit(2)). A supervisor for one call and its launcher have their
//! caller's limits; each service has those of its unit.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use supervisor_api::Limits;
use supervisor_launch::ProcessLimit;

use crate::plan::sandbox_limits;

/// Descriptors that a supervisor for one call takes, its launcher and a sandbox included, with room for connections. An
/// execution is to have some hundred itself.
const DESCRIPTORS: u64 = 256;

/// Whether our limits are the launcher's as well.
static ARE_SHARED: AtomicBool = AtomicBool::new(false);

/// Our limits are our caller's, and so are the launcher's.
pub fn share() {
    ARE_SHARED.store(true, Ordering::Relaxed);
}

/// A limit that is short.
#[derive(Debug)]
pub struct Short {
    /// Its name and both numbers.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// Why a process of an execution with these limits could not get its own.
pub fn short(limits: &Limits) -> Short {
    let left = ARE_SHARED.load(Ordering::Relaxed).then(|| fs::read_to_string("/proc/self/limits"));
    let left = left.and_then(Result::ok).unwrap_or_default();
    find(&left, limits).unwrap_or_else(|| Short {
        problem: "a hard limit of the launcher is below what a process of it is to have".to_owned(),
        remedy: "see /proc/PID/limits of supervisor-launcher, and raise it in its unit".to_owned(),
    })
}

/// The first that is short, by what proc(5) says of a process's limits.
fn find(left: &str, limits: &Limits) -> Option<Short> {
    let limits = sandbox_limits(limits);
    // With a controller for memory fewer are set, and then this is asked for the one that failed.
    let mut wanted = limits.of_each_process(true).map(|(limit, most)| (shown(limit), most));
    wanted.find_map(|(Shown { line, name, flag, unit, asked }, most)| {
        let line = left.lines().find_map(|each| each.strip_prefix(line))?;
        let hard: u64 = line.split_whitespace().nth(1)?.parse().ok()?; // or `unlimited`
        let ask = asked.map(|asked| format!(", or ask for less {asked}")).unwrap_or_default();
        let shells = most.div_ceil(unit);
        (hard < most).then(|| Short {
            problem: format!(
                "each process is to have {name} {most}, and who started the supervisor left it {hard}"
            ),
            remedy: format!("raise the hard limit there (ulimit -H{flag} {shells}){ask}"),
        })
    })
}

/// Says what to do where there are too few descriptors for a supervisor of one call.
pub fn enough_descriptors(hard: u64) -> io::Result<()> {
    if hard >= DESCRIPTORS {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "a supervisor takes {DESCRIPTORS} descriptors, and who started it left it {hard} (RLIMIT_NOFILE): raise the \
         hard limit there (ulimit -Hn {DESCRIPTORS}, or better the usual 4096)"
    )))
}

/// How a limit is called.
struct Shown {
    /// In /proc.
    line: &'static str,
    /// By setrlimit(2).
    name: &'static str,
    /// By the shell, and how many of the kernel's make one of the shell's.
    flag: char,
    unit: u64,
    /// By whoever asks for it, where it can be asked for.
    asked: Option<&'static str>,
}

fn shown(limit: ProcessLimit) -> Shown {
    let of = |line, name, flag, unit, asked| Shown { line, name, flag, unit, asked };
    match limit {
        ProcessLimit::CpuTime => of("Max cpu time ", "RLIMIT_CPU", 't', 1, Some("cpu_time")),
        ProcessLimit::OpenFiles => {
            of("Max open files ", "RLIMIT_NOFILE", 'n', 1, Some("open_files"))
        }
        ProcessLimit::Processes => of("Max processes ", "RLIMIT_NPROC", 'u', 1, Some("pids_max")),
        ProcessLimit::Locked => of("Max locked memory ", "RLIMIT_MEMLOCK", 'l', 1024, None),
        ProcessLimit::Signals => of("Max pending signals ", "RLIMIT_SIGPENDING", 'i', 1, None),
        ProcessLimit::Stack => of("Max stack size ", "RLIMIT_STACK", 's', 1024, None),
        ProcessLimit::Data => of("Max data size ", "RLIMIT_DATA", 'd', 1024, Some("memory_max")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_short_is_told_by_its_name_its_numbers_and_the_remedy() {
        let limits = Limits { open_files: 1024, memory_max: 1 << 20, ..crate::plan::NONE };
        let all = "Limit                     Soft Limit           Hard Limit           Units     \n\
                   Max cpu time              unlimited            unlimited            seconds   \n\
                   Max data size             unlimited            1048576              bytes     \n\
                   Max locked memory         0                    65536                bytes     \n\
                   Max open files            40                   1024                 files     \n";
        let told = |left: &str| find(left, &limits).map(|short| (short.problem, short.remedy));
        let (problem, remedy) = told(all).unwrap_or_default();
        let numbers = "RLIMIT_DATA 2097152, and who started the supervisor left it 1048576";
        assert_eq!(problem, format!("each process is to have {numbers}"));
        assert_eq!(
            remedy,
            "raise the hard limit there (ulimit -Hd 2048), or ask for less memory_max"
        );
        let (problem, _) = told(&all.replace("1024  ", "40    ")).unwrap_or_default();
        assert!(problem.contains("RLIMIT_NOFILE 1024") && problem.ends_with(" 40"), "{problem}");
        let locked = all.replace("65536", "0    ").replace("1048576", "2097152");
        let (_, remedy) = told(&locked).unwrap_or_default();
        assert_eq!(remedy, "raise the hard limit there (ulimit -Hl 64)");
        assert_eq!(told(&all.replace("1048576", "unlimited")), None);
        assert_eq!(told(""), None);
    }
}
