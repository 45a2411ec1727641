//! What the launcher tells a sandbox's init. Init trusts the launcher, which made it.

use crate::SandboxLimits;
use crate::seccomp::Profile;
use crate::wire::{Malformed, Reader, Writer};

/// How init is to finish the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// Index of the image, 0 for the default one, among the directories beneath the launcher's `/images`.
    pub image: u16,
    /// Which system calls the payload may make.
    pub profile: Profile,
    /// Whether files of the workspace and /tmp may be executed.
    pub exec: bool,
    /// The Landlock ABI that the kernel must have at the least.
    pub landlock: u8,
    /// Whether there is one host id only, so that the payload's id needs a user namespace of its
    /// own (a launcher without privilege).
    pub single_id: bool,
    /// Whether memory and processes are limited by process limits, for want of a controller.
    pub limit_memory: bool,
    /// Whether the payload is to trust an authority of its session's own, which comes with the start
    /// message.
    pub authority: bool,
    /// Whether the payload's streams are a terminal, which is to be its controlling one.
    pub terminal: bool,
    /// Whether its root can be written.
    pub writable_root: bool,
    /// Whether it can make pseudo-terminals.
    pub pseudo_terminals: bool,
    /// The limits.
    pub limits: SandboxLimits,
}

impl Setup {
    /// Length of the message in bytes.
    pub const LENGTH: usize = 2 + 5 + 4 + 13 * 8;

    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u16(self.image);
        writer.u8(self.profile.code());
        writer.u8(self.exec.into());
        writer.u8(self.landlock);
        writer.u8(self.single_id.into());
        writer.u8(self.limit_memory.into());
        writer.u8(self.authority.into());
        writer.u8(self.terminal.into());
        writer.u8(self.writable_root.into());
        writer.u8(self.pseudo_terminals.into());
        self.limits.write(&mut writer);
        writer.0
    }

    /// Reads a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let image = reader.u16()?;
        let profile = Profile::from_code(reader.u8()?).ok_or(Malformed("unknown profile"))?;
        let exec = reader.bool()?;
        let landlock = reader.u8()?;
        let single_id = reader.bool()?;
        let limit_memory = reader.bool()?;
        let authority = reader.bool()?;
        let terminal = reader.bool()?;
        let writable_root = reader.bool()?;
        let pseudo_terminals = reader.bool()?;
        let limits = SandboxLimits::read(&mut reader)?;
        reader.end()?;
        Ok(Self {
            image,
            profile,
            exec,
            landlock,
            single_id,
            limit_memory,
            authority,
            terminal,
            writable_root,
            pseudo_terminals,
            limits,
        })
    }
}
