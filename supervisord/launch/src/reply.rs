//! The launcher's replies.

use crate::Step;
use crate::request::{UNSAYABLE, list, spoken, versioned};
use crate::sandbox::Applied;
use crate::wire::{Malformed, Reader, Writer};
use crate::workspace::{Kept, MAX_LISTED};

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
    /// Nobody but the daemon can write to the payload's standard input any more.
    InputClosed {
        /// Its execution.
        execution: u128,
    },
    /// What the name stands for.
    ImageFound {
        /// The image's id.
        id: [u8; 32],
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
                writer.u8(*step as u8);
                writer.i32(*errno);
            }
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
            _ if version == 2 => return Err(UNSAYABLE),
            Reply::InputClosed { execution } => {
                writer.u8(9);
                writer.u128(*execution);
            }
            Reply::ImageFound { id } => {
                writer.u8(10);
                writer.bytes(id);
            }
        }
        Ok(writer.0)
    }

    /// Reads a message, and tells which version it is in.
    pub fn decode(bytes: &[u8]) -> Result<(u16, Self), Malformed> {
        let (version, mut reader) = versioned(bytes)?;
        let reply = match reader.u8()? {
            1 => Reply::Prepared {
                execution: reader.u128()?,
                applied: Applied::read(&mut reader, version)?,
            },
            2 => Reply::Destroyed { execution: reader.u128()? },
            3 => Reply::List { executions: list(&mut reader, SANDBOXES, Reader::u128)? },
            4 => {
                let execution = reader.u128()?;
                let step = Step::from_code(reader.u8()?).ok_or(Malformed("unknown step"))?;
                Reply::Failed { execution, step, errno: reader.i32()? }
            }
            5 => Reply::WorkspaceMade { id: reader.u128()? },
            6 => Reply::WorkspaceRemoved { id: reader.u128()? },
            7 => Reply::Workspaces { kept: list(&mut reader, MAX_LISTED, Kept::read)? },
            8 => Reply::Granted { id: reader.u128()? },
            9 if version > 2 => Reply::InputClosed { execution: reader.u128()? },
            10 if version > 2 => Reply::ImageFound { id: reader.bytes()? },
            _ => return Err(Malformed("unknown reply")),
        };
        reader.end()?;
        Ok((version, reply))
    }
}

const SANDBOXES: usize = crate::MAX_SANDBOXES as usize;
