//! Requests of the daemon to the launcher and their replies: one datagram each way, plus
//! descriptors. The launcher takes nothing here on trust; the daemon may be taken over.

use crate::Step;
use crate::seccomp::Profile;
use crate::wire::{Malformed, Reader, Writer};

/// The version this code speaks. Version 1 is the first; each side accepts its own and the one
/// before.
pub const VERSION: u16 = 1;

/// The longest message, in bytes: a full list of [`crate::MAX_SANDBOXES`] ids and its head.
pub const MAX_MESSAGE: usize = 32 + 16 * crate::MAX_SANDBOXES as usize;

/// An image, by number. Images are added by root on the launcher's command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image(pub u16);

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

/// Make a sandbox and park it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepare {
    /// The execution it is for; a sandbox is never used for two.
    pub execution: u128,
    /// What its root holds.
    pub image: Image,
    /// Which system calls the payload may make.
    pub profile: Profile,
    /// Whether files of the workspace and /tmp may be executed.
    pub exec: bool,
    /// The Landlock ABI that the kernel must have at the least; 0 where the policy needs none.
    pub landlock: u8,
    /// Its limits.
    pub limits: SandboxLimits,
    /// The sockets on which the daemon takes its traffic; without them it has loopback and nothing
    /// that listens there.
    pub listeners: Option<Listeners>,
}

/// The TCP ports on which the daemon takes connections to any address, besides those that every
/// sandbox with a way out has: 80 and 443, 53 for names, and the proxy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Listeners {
    ports: [u16; MAX_PORTS],
}

/// Ports of [`Listeners`] at the most. Policies name a database or a mail server, not a range; each is a
/// socket that the launcher makes at every start.
pub const MAX_PORTS: usize = 8;

/// The explicit proxy's port, on 127.0.0.1.
pub const PROXY_PORT: u16 = 3128;

/// Ports that every sandbox with a way out has, so that none can be asked for twice.
const GIVEN_PORTS: [u16; 4] = [53, 80, 443, PROXY_PORT];

impl Listeners {
    /// The sockets for these ports. `None` if there are more than [`MAX_PORTS`], if one comes twice, or
    /// if it is 0 or one that is there anyway.
    pub fn new(ports: &[u16]) -> Option<Self> {
        let mut listeners = Self::default();
        for (index, port) in ports.iter().enumerate() {
            let slot = listeners.ports.get_mut(index)?;
            let twice = ports.iter().filter(|other| *other == port).count() > 1;
            if *port == 0 || twice || GIVEN_PORTS.contains(port) {
                return None;
            }
            *slot = *port;
        }
        Some(listeners)
    }

    /// The ports, in the order of their descriptors.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.ports.into_iter().take_while(|port| *port != 0)
    }
}

/// What the daemon may ask of the launcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Make a sandbox.
    Prepare(Prepare),
    /// Hand out the descriptors of a living sandbox once more.
    Adopt {
        /// Its execution.
        execution: u128,
    },
    /// End a sandbox; the reply comes when nothing of it is left.
    Destroy {
        /// Its execution.
        execution: u128,
    },
    /// Which sandboxes are there.
    List,
}

/// A descriptor that comes with [`Reply::Prepared`], in this order, as far as its bit is set in
/// [`Applied::descriptors`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Descriptor {
    /// The sandbox's init, as a pidfd.
    Process = 0,
    /// Write end for the one [`crate::Start`].
    Start = 1,
    /// Read end of [`crate::Report`]s.
    Report = 2,
    /// Write end of the payload's standard input; handed out at prepare only.
    Stdin = 3,
    /// Read end of its standard output.
    Stdout = 4,
    /// Read end of its standard error.
    Stderr = 5,
    /// The workspace's root directory, in which the daemon owns what the payload owns.
    Workspace = 6,
    /// The sandbox's cgroup directory, for reading.
    Cgroup = 7,
    /// `cgroup.kill`, for writing.
    Kill = 8,
    /// `cgroup.freeze`, for writing.
    Freeze = 9,
    /// `memory.reclaim`, for writing.
    Reclaim = 10,
    /// The explicit proxy's socket, on 127.0.0.1 and [`PROXY_PORT`]. All that follow are sockets of the
    /// sandbox's network namespace, too; they take connections to every address.
    Proxy = 11,
    /// TCP port 80.
    Http = 12,
    /// TCP port 443.
    Tls = 13,
    /// UDP port 53.
    Dns = 14,
    /// TCP port 53.
    DnsTcp = 15,
    /// The first of [`Listeners::ports`].
    Port0 = 16,
    /// The second.
    Port1 = 17,
    /// The third.
    Port2 = 18,
    /// The fourth.
    Port3 = 19,
    /// The fifth.
    Port4 = 20,
    /// The sixth.
    Port5 = 21,
    /// The seventh.
    Port6 = 22,
    /// The eighth.
    Port7 = 23,
}

impl Descriptor {
    /// Every descriptor, in wire order.
    pub const ALL: [Descriptor; 24] = [
        Descriptor::Process,
        Descriptor::Start,
        Descriptor::Report,
        Descriptor::Stdin,
        Descriptor::Stdout,
        Descriptor::Stderr,
        Descriptor::Workspace,
        Descriptor::Cgroup,
        Descriptor::Kill,
        Descriptor::Freeze,
        Descriptor::Reclaim,
        Descriptor::Proxy,
        Descriptor::Http,
        Descriptor::Tls,
        Descriptor::Dns,
        Descriptor::DnsTcp,
        Descriptor::Port0,
        Descriptor::Port1,
        Descriptor::Port2,
        Descriptor::Port3,
        Descriptor::Port4,
        Descriptor::Port5,
        Descriptor::Port6,
        Descriptor::Port7,
    ];

    /// The sockets for named ports, in order.
    pub const PORTS: [Descriptor; MAX_PORTS] = [
        Descriptor::Port0,
        Descriptor::Port1,
        Descriptor::Port2,
        Descriptor::Port3,
        Descriptor::Port4,
        Descriptor::Port5,
        Descriptor::Port6,
        Descriptor::Port7,
    ];

    /// Its bit in a set.
    pub const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// How a sandbox is held, as the launcher applied it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// The cgroup v2 controllers that hold it: bit 0 memory, 1 pids, 2 cpu, 3 io.
    pub controllers: u8,
    /// Whether its ids differ from those of the daemon and of every other sandbox.
    pub separate_ids: bool,
    /// The descriptors that come along, by [`Descriptor::bit`].
    pub descriptors: u32,
}

impl Applied {
    /// `memory` is delegated.
    pub const MEMORY: u8 = 1;
    /// `pids` is delegated.
    pub const PIDS: u8 = 2;
    /// `cpu` is delegated.
    pub const CPU: u8 = 4;
    /// `io` is delegated.
    pub const IO: u8 = 8;
}

/// The launcher's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The sandbox is being finished by its init, which reports on its own.
    Prepared {
        /// Its execution.
        execution: u128,
        /// How it is held.
        applied: Applied,
    },
    /// Nothing is left of it.
    Destroyed {
        /// Its execution.
        execution: u128,
    },
    /// The sandboxes there are.
    List {
        /// Their executions.
        executions: Vec<u128>,
    },
    /// It could not be done, and whatever was begun was taken back.
    Failed {
        /// Its execution, 0 for a request without one.
        execution: u128,
        /// The step that failed.
        step: Step,
        /// The kernel's error number; 0 where the launcher itself refused.
        errno: i32,
    },
}

impl Request {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u16(VERSION);
        match self {
            Request::Prepare(prepare) => {
                writer.u8(1);
                writer.u128(prepare.execution);
                writer.u16(prepare.image.0);
                writer.u8(prepare.profile.code());
                writer.u8(prepare.exec.into());
                writer.u8(prepare.landlock);
                prepare.limits.write(&mut writer);
                writer.u8(prepare.listeners.is_some().into());
                for port in prepare.listeners.unwrap_or_default().ports {
                    writer.u16(port);
                }
            }
            Request::Adopt { execution } => {
                writer.u8(2);
                writer.u128(*execution);
            }
            Request::Destroy { execution } => {
                writer.u8(3);
                writer.u128(*execution);
            }
            Request::List => writer.u8(4),
        }
        writer.0
    }

    /// Reads a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = versioned(bytes)?;
        let request = match reader.u8()? {
            1 => Request::Prepare(Prepare {
                execution: reader.u128()?,
                image: Image(reader.u16()?),
                profile: Profile::from_code(reader.u8()?).ok_or(Malformed("unknown profile"))?,
                exec: reader.bool()?,
                landlock: reader.u8()?,
                limits: SandboxLimits::read(&mut reader)?,
                listeners: read_listeners(&mut reader)?,
            }),
            2 => Request::Adopt { execution: reader.u128()? },
            3 => Request::Destroy { execution: reader.u128()? },
            4 => Request::List,
            _ => return Err(Malformed("unknown request")),
        };
        reader.end()?;
        Ok(request)
    }
}

impl Reply {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u16(VERSION);
        match self {
            Reply::Prepared { execution, applied } => {
                writer.u8(1);
                writer.u128(*execution);
                writer.u8(applied.controllers);
                writer.u8(applied.separate_ids.into());
                writer.u32(applied.descriptors);
            }
            Reply::Destroyed { execution } => {
                writer.u8(2);
                writer.u128(*execution);
            }
            Reply::List { executions } => {
                writer.u8(3);
                writer.u16(executions.len() as u16);
                for execution in executions {
                    writer.u128(*execution);
                }
            }
            Reply::Failed { execution, step, errno } => {
                writer.u8(4);
                writer.u128(*execution);
                writer.u8(*step as u8);
                writer.i32(*errno);
            }
        }
        writer.0
    }

    /// Reads a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = versioned(bytes)?;
        let reply = match reader.u8()? {
            1 => Reply::Prepared {
                execution: reader.u128()?,
                applied: Applied {
                    controllers: reader.u8()?,
                    separate_ids: reader.bool()?,
                    descriptors: reader.u32()?,
                },
            },
            2 => Reply::Destroyed { execution: reader.u128()? },
            3 => {
                let count = reader.u16()?;
                if u32::from(count) > crate::MAX_SANDBOXES {
                    return Err(Malformed("too many sandboxes"));
                }
                let executions = (0..count).map(|_| reader.u128()).collect::<Result<_, _>>()?;
                Reply::List { executions }
            }
            4 => Reply::Failed {
                execution: reader.u128()?,
                step: Step::from_code(reader.u8()?).ok_or(Malformed("unknown step"))?,
                errno: reader.i32()?,
            },
            _ => return Err(Malformed("unknown reply")),
        };
        reader.end()?;
        Ok(reply)
    }
}

fn read_listeners(reader: &mut Reader<'_>) -> Result<Option<Listeners>, Malformed> {
    let wanted = reader.bool()?;
    let mut ports = [0; MAX_PORTS];
    for port in &mut ports {
        *port = reader.u16()?;
    }
    let used = ports.iter().rposition(|port| *port != 0).map_or(0, |last| last + 1);
    if !wanted && used > 0 {
        return Err(Malformed("ports of no listeners"));
    }
    let listeners = Listeners::new(ports.get(..used).unwrap_or_default());
    let listeners = listeners.ok_or(Malformed("ports"))?;
    Ok(wanted.then_some(listeners))
}

fn versioned(bytes: &[u8]) -> Result<Reader<'_>, Malformed> {
    if bytes.len() > MAX_MESSAGE {
        return Err(Malformed("over the bound"));
    }
    let mut reader = Reader::new(bytes);
    match reader.u16()? {
        VERSION => Ok(reader),
        _ => Err(Malformed("a version that is not spoken here")),
    }
}
