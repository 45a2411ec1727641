//! What a sandbox uses, as its cgroup tells it; where there is none, as /proc tells it.

mod memory;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use supervisor_api::{Pressure, Stall};
use supervisor_launch::{Applied, Descriptor};

pub use self::memory::Memory;
use crate::launcher::{Sandbox, pid_of};
use crate::top::Meter;

/// Bytes of a cgroup file that are looked at. The longest, `memory.stat`, is not read; the others
/// are some hundred bytes.
const MAX_FILE: usize = 4096;

/// Processes that are looked at for one reading. A sandbox has `pids_max` of them at the most; this
/// bounds the walk where that limit is weaker.
const MAX_PROCESSES: usize = 4096;

/// What the cgroup of a sandbox counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// CPU time of all processes, ended ones too, in microseconds (`cpu.stat`, usage_usec).
    pub cpu: Option<u64>,
    /// The most memory at once, in bytes (`memory.peak`, Linux 5.19).
    pub memory_peak: Option<u64>,
    /// Kills because of `memory.max` (`memory.events`, oom_kill).
    pub out_of_memory: u64,
    /// The most processes at once (`pids.peak`, Linux 6.1).
    pub pids_peak: Option<u64>,
    /// Forks refused because of `pids.max` (`pids.events`, max).
    pub pids_refused: Option<u64>,
}

/// What a sandbox uses just now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Now {
    /// CPU time so far, in microseconds.
    pub cpu: Option<u64>,
    /// Memory in use, in bytes.
    pub memory: Option<u64>,
    /// Processes and threads, without init.
    pub pids: Option<u64>,
    /// What it stood still for.
    pub pressure: Pressure,
}

/// Bytes that a sandbox has moved from and to disks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disk {
    /// Read from them.
    pub read: u64,
    /// Written to them.
    pub written: u64,
}

/// Reads what is in use, and what it stands still for.
pub fn now(meter: &Meter) -> Now {
    Now { pressure: pressure(meter.cgroup.as_ref()), ..in_use(meter) }
}

/// What was moved from and to disks, where the controller counts it.
pub fn disk(meter: &Meter) -> Option<Disk> {
    Some(add_disks(&read(meter.cgroup.as_ref()?, "io.stat").ok()?))
}

/// cgroup-v2.rst: a line for each disk, `8:0 rbytes=… wbytes=… …`. What goes through a loop device (major 7) goes to
/// the disk beneath it as well, and is counted there.
fn add_disks(text: &str) -> Disk {
    let disks = text.lines().filter(|line| !line.starts_with("7:"));
    disks.fold(Disk::default(), |sum, line| {
        let value = |name| -> u64 {
            let number = line.split(' ').find_map(|word| word.strip_prefix(name));
            number.and_then(|number| number.parse().ok()).unwrap_or_default()
        };
        Disk {
            read: sum.read.saturating_add(value("rbytes=")),
            written: sum.written.saturating_add(value("wbytes=")),
        }
    })
}

/// Reads what is in use, from the cgroup's own counters where their controllers are there.
pub fn in_use(meter: &Meter) -> Now {
    let cgroup = meter.cgroup.as_ref();
    let number = |file| -> Option<u64> { read(cgroup?, file).ok()?.trim().parse().ok() };
    let counted = cgroup.and_then(|cgroup| keyed(cgroup, "cpu.stat", "usage_usec"));
    let (memory, pids) = (number("memory.current"), number("pids.current"));
    let mut now = Now { cpu: counted, memory, pids, pressure: Pressure::default() };
    if counted.is_none() || memory.is_none() || pids.is_none() {
        let processes = processes(cgroup, meter.process.as_ref());
        let cpu = || processes.iter().filter_map(|pid| cpu_of(*pid)).sum();
        now.cpu = counted.or_else(|| Some(cpu()));
        now.memory = memory.or_else(|| Some(memory::of(&processes, meter.was_parked).all));
        now.pids = pids.or(Some(processes.len() as u64));
    }
    now.cpu = now.cpu.map(|cpu| cpu.saturating_sub(meter.spent));
    now.pids = now.pids.map(|pids| pids.saturating_sub(1)); // one of them is init
    now
}

fn pressure(cgroup: Option<&OwnedFd>) -> Pressure {
    let stall = |file| stall(&read(cgroup?, file).ok()?);
    Pressure {
        cpu: stall("cpu.pressure"),
        memory: stall("memory.pressure"),
        io: stall("io.pressure"),
    }
}

/// psi.rst: lines `some avg10=0.00 avg60=…` and `full avg10=…`.
fn stall(text: &str) -> Option<Stall> {
    let value = |name| -> Option<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split(' ').find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
    };
    Some(Stall { some: value("some ")?, full: value("full ") })
}

/// Memory in use, in bytes, where its controller counts it.
pub fn memory_in_use(sandbox: &Sandbox) -> Option<u64> {
    read(sandbox.get(Descriptor::Cgroup)?, "memory.current").ok()?.trim().parse().ok()
}

/// Reads the counters of the controllers that are there.
pub fn counted(sandbox: &Sandbox) -> Counted {
    let Some(cgroup) = sandbox.get(Descriptor::Cgroup) else { return Counted::default() };
    let number = |file| read(cgroup, file).ok().and_then(|text| text.trim().parse().ok());
    let cpu = keyed(cgroup, "cpu.stat", "usage_usec").map(|cpu| cpu.saturating_sub(sandbox.spent));
    let mut counted = Counted { cpu, ..Counted::default() };
    let held = sandbox.applied.controllers;
    if held & Applied::MEMORY != 0 {
        counted.memory_peak = number("memory.peak");
        counted.out_of_memory = keyed(cgroup, "memory.events", "oom_kill").unwrap_or_default();
    }
    if held & Applied::PIDS != 0 {
        // One of them is init.
        counted.pids_peak = number("pids.peak").map(|peak: u64| peak.saturating_sub(1));
        counted.pids_refused = keyed(cgroup, "pids.events", "max");
    }
    counted
}

/// CPU time of its execution so far, in microseconds.
pub fn cpu(sandbox: &Sandbox) -> Option<u64> {
    let used: Option<u64> = match sandbox.get(Descriptor::Cgroup) {
        Some(cgroup) => keyed(cgroup, "cpu.stat", "usage_usec"),
        None => {
            let processes = processes(None, sandbox.get(Descriptor::Process));
            Some(processes.iter().filter_map(|pid| cpu_of(*pid)).sum())
        }
    };
    used.map(|used| used.saturating_sub(sandbox.spent))
}

/// Memory of all processes, as they show it.
pub fn memory(sandbox: &Sandbox) -> Memory {
    let (cgroup, process) = (sandbox.get(Descriptor::Cgroup), sandbox.get(Descriptor::Process));
    memory::of(&processes(cgroup, process), sandbox.was_parked)
}

fn processes(cgroup: Option<&OwnedFd>, process: Option<&OwnedFd>) -> HashSet<u32> {
    if let Some(cgroup) = cgroup {
        let text = read(cgroup, "cgroup.procs").unwrap_or_default();
        return text.lines().filter_map(|line| line.parse().ok()).collect();
    }
    let mut found = HashSet::new();
    let mut next: Vec<u32> = process.and_then(pid_of).into_iter().collect();
    while let Some(pid) = next.pop() {
        if found.len() < MAX_PROCESSES && found.insert(pid) {
            next.extend(children(pid)); // an orphan becomes init's child, so the tree has them all
        }
    }
    found
}

fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

/// proc(5), stat: after the name in parentheses, the 12th to 15th fields are user and system time
/// of the process and of its waited-for children, in ticks of a hundredth of a second.
fn cpu_of(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    let ticks: u64 =
        fields.split(' ').skip(11).take(4).filter_map(|word| word.parse::<u64>().ok()).sum();
    Some(ticks * 10_000)
}

fn keyed(cgroup: &OwnedFd, file: &str, key: &str) -> Option<u64> {
    let text = read(cgroup, file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

fn read(cgroup: &OwnedFd, file: &str) -> io::Result<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let fd = openat(cgroup.as_fd(), file, flags, Mode::empty())?;
    let mut buffer = vec![0; MAX_FILE];
    let mut filled = 0;
    // Seq files hand out a page at a time; cgroup.procs of a large sandbox takes several reads.
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match nix::unistd::read(&fd, rest)? {
            0 => break,
            more => filled += more,
        }
        if filled == buffer.len() && file == "cgroup.procs" {
            buffer.resize(buffer.len() * 2, 0);
        }
    }
    Ok(String::from_utf8_lossy(buffer.get(..filled).unwrap_or_default()).into_owned())
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that panics is a test that fails")]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read_as_the_kernel_writes_it() {
        let text = "some avg10=1.25 avg60=0.00 avg300=0.00 total=5\n\
                    full avg10=0.50 avg60=0.00 avg300=0.00 total=4\n";
        assert_eq!(stall(text), Some(Stall { some: 1.25, full: Some(0.5) }));
        assert_eq!(stall("some avg10=0.00 total=5\n"), Some(Stall { some: 0.0, full: None }));
        assert_eq!(stall(""), None);
    }

    #[test]
    fn what_goes_through_a_loop_device_is_counted_at_the_disk_beneath_it() {
        let text = "7:1 rbytes=100 wbytes=200 rios=1 wios=2 dbytes=0 dios=0\n\
                    8:0 rbytes=1000 wbytes=2000 rios=1 wios=2 dbytes=0 dios=0\n\
                    253:7 rbytes=1 wbytes=2 rios=1 wios=2 dbytes=0 dios=0\n70:1\n";
        assert_eq!(add_disks(text), Disk { read: 1001, written: 2002 });
        assert_eq!(add_disks(""), Disk::default());
    }
}
