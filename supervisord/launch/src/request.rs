//! Requests of the daemon to the launcher and their replies: one datagram each way, plus
//! descriptors. The launcher takes nothing here on trust; the daemon may be taken over.

use crate::Step;
use crate::seccomp::Profile;
use crate::wire::{Malformed, Reader, Writer};
use crate::workspace::{Kept, MAX_LISTED, Storage, Workspace};

/// The version this code speaks. Each side speaks the one before as well: the launcher answers in the
/// version in which it was asked, and the daemon finds out what a launcher speaks before it asks for
/// anything. Version 2 brought owners, workspaces on disk
/// and sockets for traffic.
pub const VERSION: u16 = 2;

/// The oldest version this code speaks.
pub const OLDEST: u16 = VERSION - 1;

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
    /// that listens there. Version 1 knows none.
    pub listeners: Option<Listeners>,
    /// The uid on whose behalf it runs, whose sandboxes share ceilings; version 1 names none.
    pub owner: Option<u32>,
    /// Its workspace; version 1 knows those in memory only.
    pub workspace: Workspace,
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

    /// Where the sockets go among a sandbox's descriptors, in the order in which they are made.
    pub fn places(&self) -> impl Iterator<Item = Descriptor> {
        let given = [
            Descriptor::Proxy,
            Descriptor::Http,
            Descriptor::Tls,
            Descriptor::Dns,
            Descriptor::DnsTcp,
        ];
        let named = Descriptor::PORTS.into_iter().zip(self.ports()).map(|(place, _)| place);
        given.into_iter().chain(named)
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
    /// Make a workspace that is kept.
    MakeWorkspace(Kept),
    /// Remove a kept workspace with all that is in it; one that a sandbox has is not removed.
    RemoveWorkspace {
        /// Which one.
        id: u128,
    },
    /// Which workspaces are kept, by rising id, from this one on.
    ListWorkspaces {
        /// The smallest id to list.
        from: u128,
    },
    /// Hand out the daemon's view of a kept workspace, whether or not a sandbox has it.
    Grant {
        /// Which one.
        id: u128,
    },
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
    /// What holds the limits of its workspace.
    pub workspace: Storage,
    /// What holds those of a workspace on disk here; memory where there can be none.
    pub disk: Storage,
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
    /// The workspace is there, empty, and on disk.
    WorkspaceMade {
        /// Which one.
        id: u128,
    },
    /// Nothing of the workspace is left.
    WorkspaceRemoved {
        /// Which one.
        id: u128,
    },
    /// Kept workspaces by rising id, [`MAX_LISTED`] at the most; if there are so many, ask for the rest.
    Workspaces {
        /// What is kept.
        kept: Vec<Kept>,
    },
    /// The workspace's root directory comes along, in which the daemon owns what payloads own.
    Granted {
        /// Which one.
        id: u128,
    },
    /// It could not be done, and whatever was begun was taken back.
    Failed {
        /// Its execution or workspace, 0 for a request without one.
        execution: u128,
        /// The step that failed.
        step: Step,
        /// The kernel's error number; 0 where the launcher itself refused.
        errno: i32,
    },
}

impl Request {
    /// The message's bytes in a version.
    ///
    /// # Errors
    /// When the version has no words for it.
    pub fn encode(&self, version: u16) -> Result<Vec<u8>, Malformed> {
        let mut writer = Writer::default();
        writer.u16(spoken(version)?);
        match self {
            Request::Prepare(prepare) => {
                writer.u8(1);
                prepare.write(&mut writer, version)?;
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
            _ if version == 1 => return Err(UNSAYABLE),
            Request::MakeWorkspace(kept) => {
                writer.u8(5);
                kept.write(&mut writer);
            }
            Request::RemoveWorkspace { id } => {
                writer.u8(6);
                writer.u128(*id);
            }
            Request::ListWorkspaces { from } => {
                writer.u8(7);
                writer.u128(*from);
            }
            Request::Grant { id } => {
                writer.u8(8);
                writer.u128(*id);
            }
        }
        Ok(writer.0)
    }

    /// Reads a message, and tells which version it is in.
    pub fn decode(bytes: &[u8]) -> Result<(u16, Self), Malformed> {
        let (version, mut reader) = versioned(bytes)?;
        let request = match (reader.u8()?, version) {
            (1, _) => Request::Prepare(Prepare::read(&mut reader, version)?),
            (2, _) => Request::Adopt { execution: reader.u128()? },
            (3, _) => Request::Destroy { execution: reader.u128()? },
            (4, _) => Request::List,
            (5, 2..) => Request::MakeWorkspace(Kept::read(&mut reader)?),
            (6, 2..) => Request::RemoveWorkspace { id: reader.u128()? },
            (7, 2..) => Request::ListWorkspaces { from: reader.u128()? },
            (8, 2..) => Request::Grant { id: reader.u128()? },
            _ => return Err(Malformed("unknown request")),
        };
        reader.end()?;
        Ok((version, request))
    }
}

impl Prepare {
    fn write(&self, writer: &mut Writer, version: u16) -> Result<(), Malformed> {
        writer.u128(self.execution);
        writer.u16(self.image.0);
        writer.u8(self.profile.code());
        writer.u8(self.exec.into());
        writer.u8(self.landlock);
        self.limits.write(writer);
        if version == 1 {
            // Without an owner it shares its ceilings with others that have none.
            let sayable = self.workspace == Workspace::Memory && self.listeners.is_none();
            return if sayable { Ok(()) } else { Err(UNSAYABLE) };
        }
        writer.u8(self.owner.is_some().into());
        writer.u32(self.owner.unwrap_or_default());
        self.workspace.write(writer);
        write_listeners(self.listeners, writer);
        Ok(())
    }

    fn read(reader: &mut Reader<'_>, version: u16) -> Result<Self, Malformed> {
        let mut prepare = Self {
            execution: reader.u128()?,
            image: Image(reader.u16()?),
            profile: Profile::from_code(reader.u8()?).ok_or(Malformed("unknown profile"))?,
            exec: reader.bool()?,
            landlock: reader.u8()?,
            limits: SandboxLimits::read(reader)?,
            owner: None,
            workspace: Workspace::Memory,
            listeners: None,
        };
        if version > 1 {
            prepare.owner = match (reader.bool()?, reader.u32()?) {
                (true, owner) => Some(owner),
                (false, 0) => None,
                _ => return Err(Malformed("an owner that is none")),
            };
            prepare.workspace = Workspace::read(reader)?;
            prepare.listeners = read_listeners(reader)?;
        }
        Ok(prepare)
    }
}

impl Applied {
    fn write(&self, writer: &mut Writer, version: u16) {
        writer.u8(self.controllers);
        writer.u8(self.separate_ids.into());
        if version == 1 {
            // Those that version 1 has no bits for are not there: nothing in it asks for them.
            writer.u16(self.descriptors as u16);
        } else {
            writer.u32(self.descriptors);
            writer.u8(self.workspace as u8);
            writer.u8(self.disk as u8);
        }
    }

    fn read(reader: &mut Reader<'_>, version: u16) -> Result<Self, Malformed> {
        let mut applied = Self {
            controllers: reader.u8()?,
            separate_ids: reader.bool()?,
            descriptors: if version == 1 { reader.u16()?.into() } else { reader.u32()? },
            ..Self::default()
        };
        if version > 1 {
            applied.workspace = Storage::read(reader)?;
            applied.disk = Storage::read(reader)?;
        }
        Ok(applied)
    }
}

impl Reply {
    /// The message's bytes, in the version of the request that it answers.
    ///
    /// # Errors
    /// When the version has no words for it.
    pub fn encode(&self, version: u16) -> Result<Vec<u8>, Malformed> {
        let mut writer = Writer::default();
        writer.u16(spoken(version)?);
        match self {
            Reply::Prepared { execution, applied } => {
                writer.u8(1);
                writer.u128(*execution);
                applied.write(&mut writer, version);
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
                writer.u8(step.in_version(version) as u8);
                writer.i32(*errno);
            }
            _ if version == 1 => return Err(UNSAYABLE),
            Reply::WorkspaceMade { id } => {
                writer.u8(5);
                writer.u128(*id);
            }
            Reply::WorkspaceRemoved { id } => {
                writer.u8(6);
                writer.u128(*id);
            }
            Reply::Workspaces { kept } => {
                writer.u8(7);
                writer.u16(kept.len() as u16);
                for each in kept {
                    each.write(&mut writer);
                }
            }
            Reply::Granted { id } => {
                writer.u8(8);
                writer.u128(*id);
            }
        }
        Ok(writer.0)
    }

    /// Reads a message, and tells which version it is in.
    pub fn decode(bytes: &[u8]) -> Result<(u16, Self), Malformed> {
        let (version, mut reader) = versioned(bytes)?;
        let reply = match (reader.u8()?, version) {
            (1, _) => Reply::Prepared {
                execution: reader.u128()?,
                applied: Applied::read(&mut reader, version)?,
            },
            (2, _) => Reply::Destroyed { execution: reader.u128()? },
            (3, _) => Reply::List { executions: list(&mut reader, SANDBOXES, Reader::u128)? },
            (4, _) => {
                let execution = reader.u128()?;
                let step = Step::from_code(reader.u8()?).ok_or(Malformed("unknown step"))?;
                if step.in_version(version) != step {
                    return Err(Malformed("a step of a later version"));
                }
                Reply::Failed { execution, step, errno: reader.i32()? }
            }
            (5, 2..) => Reply::WorkspaceMade { id: reader.u128()? },
            (6, 2..) => Reply::WorkspaceRemoved { id: reader.u128()? },
            (7, 2..) => Reply::Workspaces { kept: list(&mut reader, MAX_LISTED, Kept::read)? },
            (8, 2..) => Reply::Granted { id: reader.u128()? },
            _ => return Err(Malformed("unknown reply")),
        };
        reader.end()?;
        Ok((version, reply))
    }
}

const SANDBOXES: usize = crate::MAX_SANDBOXES as usize;

const UNSAYABLE: Malformed = Malformed("not to be said in this version");

pub(crate) fn write_listeners(listeners: Option<Listeners>, writer: &mut Writer) {
    writer.u8(listeners.is_some().into());
    for port in listeners.unwrap_or_default().ports {
        writer.u16(port);
    }
}

pub(crate) fn read_listeners(reader: &mut Reader<'_>) -> Result<Option<Listeners>, Malformed> {
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

fn list<'a, T>(
    reader: &mut Reader<'a>,
    most: usize,
    read: impl Fn(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = reader.u16()?;
    if usize::from(count) > most {
        return Err(Malformed("too many entries"));
    }
    (0..count).map(|_| read(reader)).collect()
}

fn spoken(version: u16) -> Result<u16, Malformed> {
    if (OLDEST..=VERSION).contains(&version) {
        return Ok(version);
    }
    Err(Malformed("a version that is not spoken here"))
}

fn versioned(bytes: &[u8]) -> Result<(u16, Reader<'_>), Malformed> {
    if bytes.len() > MAX_MESSAGE {
        return Err(Malformed("over the bound"));
    }
    let mut reader = Reader::new(bytes);
    Ok((spoken(reader.u16()?)?, reader))
}
