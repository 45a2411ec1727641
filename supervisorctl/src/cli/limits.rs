//! Limits as flags, in people's units. What is not given is left to the policy's default; more
//! than the policy's maximum is refused by the daemon.

use clap::Args;
use supervisor_api::LimitsRequest;

use crate::units;

/// Limits of one execution.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Limits (default: the policy's; more than its maximum is refused)")]
pub struct LimitOptions {
    /// Memory of all processes together, in bytes or with K, M, G (powers of 1024)
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    memory: Option<u64>,
    /// Processes and threads together
    #[arg(long, value_name = "NUMBER")]
    pids: Option<u64>,
    /// CPU share in cores: 0.5 is half a core, 2 is two cores
    #[arg(long, value_name = "CORES", value_parser = units::cores)]
    cpus: Option<u64>,
    /// CPU time of all processes together, such as 10s (units ms, s, m, h, d; none means seconds)
    #[arg(long, value_name = "TIME", value_parser = units::milliseconds)]
    cpu_time: Option<u64>,
    /// Time from start to end, such as 30s (units ms, s, m, h, d; none means seconds)
    #[arg(long, value_name = "TIME", value_parser = units::milliseconds)]
    time: Option<u64>,
    /// Open descriptors of one process
    #[arg(long, value_name = "NUMBER")]
    open_files: Option<u64>,
    /// Bytes of the workspace, or with K, M, G (powers of 1024)
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    disk: Option<u64>,
    /// Files, directories and links in the workspace
    #[arg(long, value_name = "NUMBER")]
    inodes: Option<u64>,
    /// Bytes of /tmp and /dev/shm together, or with K, M, G (powers of 1024)
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    tmp: Option<u64>,
    /// Files, directories and links in /tmp and /dev/shm together
    #[arg(long, value_name = "NUMBER")]
    tmp_inodes: Option<u64>,
    /// Bytes kept of standard output, and as many of standard error, or with K, M, G
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    output_limit: Option<u64>,
    /// Bytes of all artifacts together, or with K, M, G (powers of 1024)
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    artifact_limit: Option<u64>,
    /// Number of artifacts
    #[arg(long, value_name = "NUMBER")]
    artifact_count: Option<u64>,
    /// Bytes read from the disk per second, or with K, M, G; 0 is no limit
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    io_read_bps: Option<u64>,
    /// Bytes written to the disk per second, or with K, M, G; 0 is no limit
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    io_write_bps: Option<u64>,
    /// Reads from the disk per second; 0 is no limit
    #[arg(long, value_name = "NUMBER")]
    io_read_iops: Option<u64>,
    /// Writes to the disk per second; 0 is no limit
    #[arg(long, value_name = "NUMBER")]
    io_write_iops: Option<u64>,
}

impl LimitOptions {
    /// The limits as the daemon takes them: bytes, milliseconds, percent of one core.
    pub fn request(&self) -> LimitsRequest {
        LimitsRequest {
            memory_max: self.memory,
            pids_max: self.pids,
            cpu_max: self.cpus,
            cpu_time: self.cpu_time,
            wall_time: self.time,
            open_files: self.open_files,
            workspace_bytes: self.disk,
            workspace_inodes: self.inodes,
            tmp_bytes: self.tmp,
            tmp_inodes: self.tmp_inodes,
            output_bytes: self.output_limit,
            artifact_bytes: self.artifact_limit,
            artifact_count: self.artifact_count,
            io_read_bps: self.io_read_bps,
            io_write_bps: self.io_write_bps,
            io_read_iops: self.io_read_iops,
            io_write_iops: self.io_write_iops,
        }
    }
}
