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

impl SandboxLimits {
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
