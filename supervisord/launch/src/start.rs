//! The payload's program, arguments, environment and working directory. The daemon writes it to a
//! pipe that only the payload's stub reads: a process that is already confined as the payload will
//! be, so that nothing of privilege ever parses it.

use crate::wire::{Malformed, Reader, Writer};

/// The longest message. The kernel takes arguments and environment up to a quarter of the stack
/// limit, 2 MiB of 8 (execve(2)); half of that leaves room for its own.
pub const MAX_START: usize = 1 << 20;

/// Where what a program that parks reads when it starts is written: a place of its sandbox alone, whatever its
/// workspace is.
pub const STARTUP: &str = "/tmp/.supervisor-parked/usercustomize.py";

/// Set in the count of arguments of a message whose program parks.
const PARKS: u32 = 1 << 31;

const NOTHING_TO_READ: Malformed = Malformed("a program that parks and reads nothing at its start");

/// What the stub is to execute.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Start {
    /// Working directory, absolute inside the sandbox.
    pub cwd: Vec<u8>,
    /// Program and arguments; a program without a slash is looked up in `PATH` of `environment`.
    pub argv: Vec<Vec<u8>>,
    /// `NAME=value` entries.
    pub environment: Vec<Vec<u8>>,
    /// The certificate of the session's authority in PEM, to be trusted besides the image's own; empty for
    /// a sandbox without listeners.
    pub authority: Vec<u8>,
    /// Of a program that parks, what stands at [`STARTUP`] when it starts. The pipe that this message came by
    /// stays open in it, and it reads a second one there, of the same form, before it does what that says.
    /// What else tells that a payload has started, that nobody can read this pipe any more, is so only then.
    pub parks: Option<Vec<u8>>,
}

impl Start {
    /// The message's bytes, its length first.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let mut writer = Writer::default();
        writer.u32(0);
        writer.u32(count(&self.argv)? | if self.parks.is_some() { PARKS } else { 0 });
        writer.u32(count(&self.environment)?);
        if self.parks.as_ref().is_some_and(Vec::is_empty) {
            return Err(NOTHING_TO_READ);
        }
        // Left out where there is none: a stub of the version before expects nothing here.
        let authority = Some(&self.authority).filter(|text| !text.is_empty());
        let texts = std::iter::once(&self.cwd).chain(&self.argv).chain(&self.environment);
        for text in texts.chain(&self.parks).chain(authority) {
            if text.contains(&0) {
                return Err(Malformed("NUL in a string"));
            }
            writer.0.extend(text);
            writer.u8(0);
        }
        if self.argv.is_empty() || writer.0.len() > MAX_START {
            return Err(Malformed("no program, or over the bound"));
        }
        let length = (writer.0.len() as u32).to_le_bytes();
        for (to, from) in writer.0.iter_mut().zip(length) {
            *to = from;
        }
        Ok(writer.0)
    }

    /// The length of a whole message, told by its first four bytes.
    pub fn length(head: [u8; 4]) -> Result<usize, Malformed> {
        let length = u32::from_le_bytes(head) as usize;
        if (12..=MAX_START).contains(&length) { Ok(length) } else { Err(Malformed("length")) }
    }

    /// Reads a whole message.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.u32()? as usize != bytes.len() || bytes.len() > MAX_START {
            return Err(Malformed("length"));
        }
        let (arguments, variables) = (reader.u32()?, reader.u32()?);
        let (arguments, parks) = (arguments & !PARKS, arguments & PARKS != 0);
        // Each string takes a byte at the least, so no count can ask for more than was sent.
        if arguments == 0 || arguments as usize > bytes.len() || variables as usize > bytes.len() {
            return Err(Malformed("count"));
        }
        let cwd = reader.string()?.to_vec();
        let argv = strings(&mut reader, arguments)?;
        let environment = strings(&mut reader, variables)?;
        let parks = parks.then(|| reader.string().map(<[u8]>::to_vec)).transpose()?;
        if parks.as_ref().is_some_and(Vec::is_empty) {
            return Err(NOTHING_TO_READ);
        }
        let authority = if reader.is_at_end() {
            Vec::new()
        } else {
            let text = reader.string()?;
            if text.is_empty() {
                return Err(Malformed("an authority of no bytes")); // none is said by leaving it out
            }
            text.to_vec()
        };
        reader.end()?;
        Ok(Self { cwd, argv, environment, authority, parks })
    }
}

fn strings(reader: &mut Reader<'_>, count: u32) -> Result<Vec<Vec<u8>>, Malformed> {
    (0..count).map(|_| reader.string().map(<[u8]>::to_vec)).collect()
}

fn count(strings: &[Vec<u8>]) -> Result<u32, Malformed> {
    u32::try_from(strings.len()).ok().filter(|count| count & PARKS == 0).ok_or(Malformed("count"))
}
