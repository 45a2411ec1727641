//! What the launcher asks of the seed, the one process that every sandbox's init is a copy of, and what
//! it answers. A question is of one length and comes with the copy's descriptors; the launcher's end is the
//! end of both.

use crate::listeners::{Listeners, read_listeners, write_listeners};
use crate::wire::{Malformed, Reader, Writer};
use crate::{MAX_PORTS, Step};

/// The question: a copy, in fresh namespaces, that is init of a sandbox. It comes with the descriptors
/// of [`COPY_DESCRIPTORS`], the payload's end of a channel where it has one and, where there is a cgroup, its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The sockets that are to be made in its network namespace.
    pub listeners: Option<Listeners>,
    /// Whether the payload's end of a channel comes after those descriptors.
    pub channel: bool,
    /// Whether its pseudo-terminals are made already; their file system comes next.
    pub terminal: bool,
    /// Whether its root can be written: the image and what was written of it come after all these.
    pub root: bool,
    /// The host id whose its user namespace is; the launcher's own where there is no other.
    pub owner: Option<u32>,
}

impl Wanted {
    /// Length of a question in bytes.
    pub const LENGTH: usize = 1 + 2 * MAX_PORTS + 3 + 4;

    /// The question's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        write_listeners(self.listeners, &mut writer);
        writer.u8(self.channel.into());
        writer.u8(self.terminal.into());
        writer.u8(self.root.into());
        writer.u32(self.owner.unwrap_or_default());
        writer.0
    }

    /// Reads a question.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let listeners = read_listeners(&mut reader)?;
        let channel = reader.bool()?;
        let terminal = reader.bool()?;
        let root = reader.bool()?;
        let owner = Some(reader.u32()?).filter(|id| *id != 0); // which is the launcher's
        reader.end()?;
        Ok(Self { listeners, channel, terminal, root, owner })
    }
}

/// How many descriptors each copy gets: setup, report, start, standard input, output and error,
/// workspace.
pub const COPY_DESCRIPTORS: usize = 7;

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// It is made, and waits for its [`crate::Setup`]. The answer carries its pidfd, and the sockets that
    /// were wanted, in the order of [`Listeners::places`].
    Made {
        /// Its pid, for /proc only.
        pid: u32,
    },
    /// A step failed; there is no copy.
    Failed {
        /// Which one.
        step: Step,
        /// The kernel's error number.
        errno: i32,
    },
}

impl Copied {
    /// Length of an answer in bytes.
    pub const LENGTH: usize = 8;

    /// The answer's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match *self {
            Copied::Made { pid } => {
                writer.u32(0);
                writer.u32(pid);
            }
            Copied::Failed { step, errno } => {
                writer.u32(u32::from(step as u8));
                writer.i32(errno);
            }
        }
        writer.0
    }

    /// Reads an answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let answer = match reader.u32()? {
            0 => Copied::Made { pid: reader.u32()? },
            code => {
                let step = u8::try_from(code).ok().and_then(Step::from_code);
                let step = step.ok_or(Malformed("unknown step"))?;
                Copied::Failed { step, errno: reader.i32()? }
            }
        };
        reader.end()?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_read_back_and_nothing_else_is_one() {
        let failed = Copied::Failed { step: Step::MakeNetwork, errno: 28 };
        for answer in [Copied::Made { pid: 77 }, failed] {
            let bytes = answer.encode();
            assert_eq!(bytes.len(), Copied::LENGTH);
            assert_eq!(Copied::decode(&bytes), Ok(answer));
            assert!(Copied::decode(&bytes[1..]).is_err());
            assert!(Copied::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
        }
        assert!(Copied::decode(&[0xff; Copied::LENGTH]).is_err());
    }
}
