//! Unpacks one archive that nobody vouches for, on behalf of root and with nothing of root's: in namespaces
//! of its own, in which it is nobody of the host, with one directory to write and no way to anything else.
//! It reads an archive twice: first it looks at all of it and makes the tree in memory, where links lead
//! nowhere; then it writes the files that are left of it, each once.
//!
//! It is the whole of `supervisor-unpack` and runs in no other program; it is part of this library so that the
//! fuzzer can reach its parsers.

mod apply;
mod archive;
mod compression;
mod confine;
mod documents;
mod entries;
mod finish;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod layers;
mod merged;
mod names;
mod refusal;
mod registry;
#[cfg(test)]
mod tests;
mod write;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use supervisor_sys::SingleThreaded;

use self::refusal::Refusal;
use crate::{Answer, Unpacked, Wanted};

/// Bytes of what we are asked.
const MAX_WANTED: u64 = 64 << 10;

/// Unpacks the archive into the directory, with the spool file for what is compressed, and says on standard
/// output what came of it. What is wanted comes on standard input. Leaves the process confined.
///
/// # Errors
/// It wasn't unpacked, or what came of it can't be said.
pub fn serve(archive: OwnedFd, tree: &OwnedFd, spool: OwnedFd) -> io::Result<()> {
    let answer = match unpack(archive, tree, spool) {
        Ok(unpacked) => Answer::Unpacked(Box::new(unpacked)),
        Err(refusal) => Answer::Refused(refusal.to_string()),
    };
    let told = serde_json::to_vec(&answer).map_err(io::Error::other)?;
    io::stdout().lock().write_all(&told)?;
    match answer {
        Answer::Unpacked(_) => Ok(()),
        Answer::Refused(why) => Err(io::Error::other(why)),
    }
}

fn unpack(archive: OwnedFd, tree: &OwnedFd, spool: OwnedFd) -> Result<Unpacked, Refusal> {
    let proof = SingleThreaded::prove().map_err(Refusal::of("count threads"))?;
    confine::leave(&proof).map_err(Refusal::of("make namespaces"))?;
    io::stdout().lock().write_all(b"r").map_err(Refusal::of("say that they are made"))?;
    io::stdout().lock().flush().map_err(Refusal::of("say that they are made"))?;
    let mut wanted = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_WANTED)
        .read_to_end(&mut wanted)
        .map_err(Refusal::of("read what is wanted"))?;
    let wanted: Wanted =
        serde_json::from_slice(&wanted).map_err(Refusal::of("understand what is wanted"))?;
    confine::confine(tree, wanted.bounds.bytes).map_err(Refusal::of("confine itself"))?;
    layers::unpack(File::from(archive), tree, File::from(spool), &wanted)
}
