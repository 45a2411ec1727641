//! Processor time of other processes.

use std::time::Duration;

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use crate::failure::Failure;

/// What these have used so far, in the kernel and out of it, with their threads that have ended.
pub fn time_of(processes: &[u32]) -> Result<Duration, Failure> {
    let mut sum = Duration::ZERO;
    for process in processes {
        let process = i32::try_from(*process).unwrap_or(i32::MAX);
        let time = clock_getcpuclockid(Pid::from_raw(process)).and_then(|clock| clock.now());
        sum += Duration::from(time.map_err(Failure::of("read a process's time"))?);
    }
    Ok(sum)
}
