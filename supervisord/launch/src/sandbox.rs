//! A sandbox as the launcher hands it out: its descriptors, and how it is held.

use crate::listeners::MAX_PORTS;
use crate::wire::{Malformed, Reader, Writer};
use crate::workspace::Storage;

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
    /// Write end of the payload's standard input; handed out at prepare only, unless it stays open.
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
    /// The master of the pseudo-terminal that the payload's streams are. There is no [`Descriptor::Stdin`]
    /// and no [`Descriptor::Stderr`] then.
    Terminal = 24,
    /// The other end of the payload's descriptor [`CHANNEL`], a stream socket.
    Channel = 25,
    /// A file in memory: its size is how much standard input came, its position how much went on, and a
    /// seal against growing says that no more comes. Where that stays open.
    Input = 26,
    /// Write end of the pipe behind [`Descriptor::Stdout`], for what a terminal shows: bytes that are
    /// in it outlive the daemon.
    Screen = 27,
}

impl Descriptor {
    /// Every descriptor, in wire order.
    pub const ALL: [Descriptor; 28] = [
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
        Descriptor::Terminal,
        Descriptor::Channel,
        Descriptor::Input,
        Descriptor::Screen,
    ];

    /// How many places there are: one for each bit of a set.
    pub const PLACES: usize = u32::BITS as usize;

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

/// The number of the payload's descriptor on which it and the daemon speak, where there is a channel.
pub const CHANNEL: i32 = 3;

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
    /// What of the host's could not be kept away from sandboxes: [`Applied::DUMPS`], [`Applied::KEYRING`]. Told
    /// since version 3; a launcher of version 2 doesn't start then.
    pub exposed: u8,
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

    /// The limit on core dumps at which the kernel starts no collector ([`crate::NO_DUMP`]).
    pub const DUMPS: u8 = 1;
    /// The session keyring that the launcher was started with.
    pub const KEYRING: u8 = 2;
}

impl Applied {
    pub(crate) fn write(&self, writer: &mut Writer, version: u16) {
        writer.u8(self.controllers);
        writer.u8(self.separate_ids.into());
        writer.u32(self.descriptors);
        writer.u8(self.workspace as u8);
        writer.u8(self.disk as u8);
        if version > 2 {
            writer.u8(self.exposed);
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>, version: u16) -> Result<Self, Malformed> {
        Ok(Self {
            controllers: reader.u8()?,
            separate_ids: reader.bool()?,
            descriptors: reader.u32()?,
            workspace: Storage::read(reader)?,
            disk: Storage::read(reader)?,
            exposed: if version > 2 { reader.u8()? } else { 0 },
        })
    }
}
