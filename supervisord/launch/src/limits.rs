//! The limits that the launcher and init apply.

use crate::wire::{Malformed, Reader, Writer};

/// The limits that the launcher and init apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SandboxLimits {
    /// Bytes (`memory.max`).
    pub memory_max: u64,
    /// Processes and threads (`pids.max`).
    pub pids_max: u64,
    /// Percent of one core (`cpu.max`).
    pub cpu_max: u64,
    /// Milliseconds of CPU time, as a per-process backstop (`RLIMIT_CPU`); the daemon watches the
    /// sum.
    pub cpu_time: u64,
    /// Descriptors of one process (`RLIMIT_NOFILE`).
    pub open_files: u64,
    /// Bytes of the workspace.
    pub workspace_bytes: u64,
    /// Inodes of the workspace.
    pub workspace_inodes: u64,
    /// Bytes of /tmp and /dev/shm together.
    pub tmp_bytes: u64,
    /// Inodes of /tmp and /dev/shm together.
    pub tmp_inodes: u64,
    /// Bytes read per second (`io.max` rbps), 0 for no limit.
    pub io_read_bps: u64,
    /// Bytes written per second (`io.max` wbps), 0 for no limit.
    pub io_write_bps: u64,
    /// Reads per second (`io.max` riops), 0 for no limit.
    pub io_read_iops: u64,
    /// Writes per second (`io.max` wiops), 0 for no limit.
    pub io_write_iops: u64,
}

/// A limit of each process (setrlimit(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessLimit {
    /// Seconds (`RLIMIT_CPU`).
    CpuTime,
    /// Descriptors (`RLIMIT_NOFILE`).
    OpenFiles,
    /// Processes and threads of its uid in the sandbox (`RLIMIT_NPROC`).
    Processes,
    /// Bytes (`RLIMIT_MEMLOCK`).
    Locked,
    /// Signals (`RLIMIT_SIGPENDING`).
    Signals,
    /// Bytes (`RLIMIT_STACK`).
    Stack,
    /// Bytes (`RLIMIT_DATA`).
    Data,
}

/// The kernel's usual stack limit. A fixed one keeps a caller's `unlimited` out, which would switch
/// the address space to the legacy layout (execve(2), personality(2)).
const STACK: u64 = 8 << 20;

/// Memory that may be locked: enough for a key or two, nothing to press the host with.
const LOCKED: u64 = 64 << 10;

/// Signals that may wait. Programs with many real-time timers use some hundreds.
const SIGNALS: u64 = 1024;

impl SandboxLimits {
    /// What each process gets; `limit_memory` where no controller counts memory.
    pub fn of_each_process(&self, limit_memory: bool) -> impl Iterator<Item = (ProcessLimit, u64)> {
        // Per process, so it can only be a backstop: the daemon watches the sum. A second of grace lets
        // the daemon see the sum first and name the limit.
        let cpu_seconds = (self.cpu_time.div_ceil(1000)).saturating_add(1);
        // Where the cgroup holds the number it is to be the one that refuses, because it counts that.
        let processes = self.pids_max.saturating_add(u64::from(!limit_memory));
        // Twice the limit for one process: the daemon, which watches the sum, gets to name it.
        let data = limit_memory.then_some((ProcessLimit::Data, self.memory_max.saturating_mul(2)));
        let always = [
            (ProcessLimit::CpuTime, cpu_seconds),
            (ProcessLimit::OpenFiles, self.open_files),
            (ProcessLimit::Processes, processes),
            (ProcessLimit::Locked, LOCKED),
            (ProcessLimit::Signals, SIGNALS),
            (ProcessLimit::Stack, STACK),
        ];
        always.into_iter().chain(data)
    }

    fn fields(&self) -> [u64; 13] {
        [
            self.memory_max,
            self.pids_max,
            self.cpu_max,
            self.cpu_time,
            self.open_files,
            self.workspace_bytes,
            self.workspace_inodes,
            self.tmp_bytes,
            self.tmp_inodes,
            self.io_read_bps,
            self.io_write_bps,
            self.io_read_iops,
            self.io_write_iops,
        ]
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        for field in self.fields() {
            writer.u64(field);
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            memory_max: reader.u64()?,
            pids_max: reader.u64()?,
            cpu_max: reader.u64()?,
            cpu_time: reader.u64()?,
            open_files: reader.u64()?,
            workspace_bytes: reader.u64()?,
            workspace_inodes: reader.u64()?,
            tmp_bytes: reader.u64()?,
            tmp_inodes: reader.u64()?,
            io_read_bps: reader.u64()?,
            io_write_bps: reader.u64()?,
            io_read_iops: reader.u64()?,
            io_write_iops: reader.u64()?,
        })
    }

    /// Whether no limit is above that of `ceiling`. For the io limits 0 means none and is above
    /// every number.
    pub fn within(&self, ceiling: &Self) -> bool {
        self.fields().into_iter().zip(ceiling.fields()).enumerate().all(|(place, (asked, most))| {
            let is_io = place >= 9;
            if is_io {
                most == 0 || (asked != 0 && asked <= most)
            } else {
                0 < asked && asked <= most
            }
        })
    }
}
