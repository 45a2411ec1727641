//! The limits of an execution. Names follow cgroup v2 where it has one (`memory.max`, `pids.max`,
//! `cpu.max`, `io.max`); sizes are bytes, times milliseconds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! limits {
    ($($(#[$doc:meta])* $field:ident: $variant:ident = $name:literal,)*) => {
        /// The limits that hold for an execution.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct Limits {
            $($(#[$doc])* pub $field: u64,)*
        }

        /// The limits a submission asks for; what is left out is the policy's default. Asking for
        /// more than the policy's maximum is refused, never silently clamped.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct LimitsRequest {
            $(
                $(#[$doc])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<u64>,
            )*
        }

        /// The name of a limit, as it stands in a [`Limits`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Limit {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Limit {
            /// Every limit, in the order of the documentation.
            pub const ALL: &[Limit] = &[$(Limit::$variant,)*];

            /// The name as it stands in JSON and in policy files.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Limit::$variant => $name,)*
                }
            }
        }

        impl Limits {
            /// The value of one limit.
            pub const fn get(&self, limit: Limit) -> u64 {
                match limit {
                    $(Limit::$variant => self.$field,)*
                }
            }

            /// Sets one limit.
            pub const fn set(&mut self, limit: Limit, value: u64) {
                match limit {
                    $(Limit::$variant => self.$field = value,)*
                }
            }
        }

        impl LimitsRequest {
            /// The value asked for, if any.
            pub const fn get(&self, limit: Limit) -> Option<u64> {
                match limit {
                    $(Limit::$variant => self.$field,)*
                }
            }

            /// Asks for a value.
            pub const fn set(&mut self, limit: Limit, value: u64) {
                match limit {
                    $(Limit::$variant => self.$field = Some(value),)*
                }
            }
        }
    };
}

limits! {
    /// Memory of all processes together, tmpfs pages included, in bytes (`memory.max`; swap is 0); 1 MiB at the
    /// least.
    memory_max: MemoryMax = "memory_max",
    /// Processes and threads together (`pids.max`).
    pids_max: PidsMax = "pids_max",
    /// CPU share in percent of one core: 50 is half a core, 200 is two (`cpu.max`).
    cpu_max: CpuMax = "cpu_max",
    /// CPU time of all processes together, in milliseconds.
    cpu_time: CpuTime = "cpu_time",
    /// Time from start to end by CLOCK_MONOTONIC, in milliseconds.
    wall_time: WallTime = "wall_time",
    /// Open descriptors of one process (`RLIMIT_NOFILE`); 16 at the least.
    open_files: OpenFiles = "open_files",
    /// Bytes of the workspace.
    workspace_bytes: WorkspaceBytes = "workspace_bytes",
    /// Files, directories and links of the workspace.
    workspace_inodes: WorkspaceInodes = "workspace_inodes",
    /// Bytes of /tmp and /dev/shm together.
    tmp_bytes: TmpBytes = "tmp_bytes",
    /// Files, directories and links of /tmp and /dev/shm together.
    tmp_inodes: TmpInodes = "tmp_inodes",
    /// Bytes kept of standard output and, counted apart, of standard error. What comes after is
    /// read, counted and thrown away; the payload never blocks on it.
    output_bytes: OutputBytes = "output_bytes",
    /// Bytes of all artifacts together.
    artifact_bytes: ArtifactBytes = "artifact_bytes",
    /// Number of artifacts.
    artifact_count: ArtifactCount = "artifact_count",
    /// Bytes read per second from each of the disks that hold the image and the state directory
    /// (`io.max` rbps); 0 is no limit.
    io_read_bps: IoReadBps = "io_read_bps",
    /// Bytes written per second to each of them (`io.max` wbps); 0 is no limit.
    io_write_bps: IoWriteBps = "io_write_bps",
    /// Reads per second from each of them (`io.max` riops); 0 is no limit.
    io_read_iops: IoReadIops = "io_read_iops",
    /// Writes per second to each of them (`io.max` wiops); 0 is no limit.
    io_write_iops: IoWriteIops = "io_write_iops",
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
