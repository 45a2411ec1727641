//! Requests of the daemon to the launcher: one datagram each, answered by one. The launcher takes
//! nothing here on trust; the daemon may be taken over.

use crate::image::Image;
use crate::input::Input;
use crate::limits::SandboxLimits;
use crate::listeners::{Listeners, read_listeners, write_listeners};
use crate::seccomp::Profile;
use crate::wire::{Malformed, Reader, Writer};
use crate::workspace::{Kept, Workspace};

/// The version this code speaks. Each side speaks the one before as well: the launcher answers in the
/// version in which it was asked, and the daemon finds out what a launcher speaks before it asks for
/// anything. What a version brought is said in it only: encoding it in an older one is an error.
pub const VERSION: u16 = 3;

/// The oldest version this code speaks.
pub const OLDEST: u16 = VERSION - 1;

/// The longest message, in bytes: a full list of [`crate::MAX_SANDBOXES`] ids and its head.
pub const MAX_MESSAGE: usize = 32 + 16 * crate::MAX_SANDBOXES as usize;

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
    /// The uid on whose behalf it runs, whose sandboxes share ceilings.
    pub owner: Option<u32>,
    /// Its workspace.
    pub workspace: Workspace,
    /// Whether the payload has a socket to the daemon, as its descriptor [`crate::CHANNEL`]. Since
    /// version 3.
    pub channel: bool,
    /// Its standard input; version 2 knows only what is given at the start.
    pub input: Input,
    /// Whether its root can be written, which takes an imported image, a workspace on disk, where what is
    /// written is kept, and `exec`. Since version 3.
    pub writable_root: bool,
    /// Whether the payload can make pseudo-terminals. Since version 3; a launcher of version 2 lets every one.
    pub pseudo_terminals: bool,
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
    /// Let go of the writing end of a payload's standard input, so that it finds the end.
    CloseInput {
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
    /// Which image a name stands for. Said since version 3.
    FindImage {
        /// SHA-256 of the name.
        key: [u8; 32],
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
            _ if version == 2 => return Err(UNSAYABLE),
            Request::CloseInput { execution } => {
                writer.u8(9);
                writer.u128(*execution);
            }
            Request::FindImage { key } => {
                writer.u8(10);
                writer.bytes(key);
            }
        }
        Ok(writer.0)
    }

    /// Reads a message, and tells which version it is in.
    pub fn decode(bytes: &[u8]) -> Result<(u16, Self), Malformed> {
        let (version, mut reader) = versioned(bytes)?;
        let request = match reader.u8()? {
            1 => Request::Prepare(Prepare::read(&mut reader, version)?),
            2 => Request::Adopt { execution: reader.u128()? },
            3 => Request::Destroy { execution: reader.u128()? },
            4 => Request::List,
            5 => Request::MakeWorkspace(Kept::read(&mut reader)?),
            6 => Request::RemoveWorkspace { id: reader.u128()? },
            7 => Request::ListWorkspaces { from: reader.u128()? },
            8 => Request::Grant { id: reader.u128()? },
            9 if version > 2 => Request::CloseInput { execution: reader.u128()? },
            10 if version > 2 => Request::FindImage { key: reader.bytes()? },
            _ => return Err(Malformed("unknown request")),
        };
        reader.end()?;
        Ok((version, request))
    }
}

impl Prepare {
    fn write(&self, writer: &mut Writer, version: u16) -> Result<(), Malformed> {
        writer.u128(self.execution);
        self.image.write(writer, version)?;
        writer.u8(self.profile.code());
        writer.u8(self.exec.into());
        writer.u8(self.landlock);
        self.limits.write(writer);
        writer.u8(self.owner.is_some().into());
        writer.u32(self.owner.unwrap_or_default());
        self.workspace.write(writer);
        write_listeners(self.listeners, writer);
        if version == 2 {
            let sayable = !self.channel && self.input == Input::Given && !self.writable_root;
            let sayable = sayable && !self.pseudo_terminals;
            return if sayable { Ok(()) } else { Err(UNSAYABLE) };
        }
        writer.u8(self.channel.into());
        self.input.write(writer);
        writer.u8(self.writable_root.into());
        writer.u8(self.pseudo_terminals.into());
        Ok(())
    }

    fn read(reader: &mut Reader<'_>, version: u16) -> Result<Self, Malformed> {
        Ok(Self {
            execution: reader.u128()?,
            image: Image::read(reader, version)?,
            profile: Profile::from_code(reader.u8()?).ok_or(Malformed("unknown profile"))?,
            exec: reader.bool()?,
            landlock: reader.u8()?,
            limits: SandboxLimits::read(reader)?,
            owner: match (reader.bool()?, reader.u32()?) {
                (true, owner) => Some(owner),
                (false, 0) => None,
                _ => return Err(Malformed("an owner that is none")),
            },
            workspace: Workspace::read(reader)?,
            listeners: read_listeners(reader)?,
            channel: version >= 3 && reader.bool()?,
            input: if version == 2 { Input::Given } else { Input::read(reader)? },
            writable_root: version >= 3 && reader.bool()?,
            pseudo_terminals: version >= 3 && reader.bool()?,
        })
    }
}

pub(crate) const UNSAYABLE: Malformed = Malformed("not to be said in this version");

pub(crate) fn list<'a, T>(
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

pub(crate) fn spoken(version: u16) -> Result<u16, Malformed> {
    if (OLDEST..=VERSION).contains(&version) {
        return Ok(version);
    }
    Err(Malformed("a version that is not spoken here"))
}

pub(crate) fn versioned(bytes: &[u8]) -> Result<(u16, Reader<'_>), Malformed> {
    if bytes.len() > MAX_MESSAGE {
        return Err(Malformed("over the bound"));
    }
    let mut reader = Reader::new(bytes);
    Ok((spoken(reader.u16()?)?, reader))
}
