//! Unpacks one archive that nobody vouches for, on behalf of root and with nothing of root's: in namespaces
//! of its own, in which it is nobody of the host, with one directory to write and no way to anything else.
//! It reads an archive twice: first it looks at all of it and makes the tree in memory, where links lead
//! nowhere; then it writes the files that are left of it, each once.

#![forbid(unsafe_code)]

mod apply;
mod archive;
mod compression;
mod confine;
mod documents;
mod entries;
mod finish;
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
use std::process::ExitCode;

use supervisor_image::{Answer, Unpacked, Wanted};
use supervisor_sys::{SingleThreaded, take_inherited};

use crate::refusal::Refusal;

/// Bytes of what we are asked.
const MAX_WANTED: u64 = 64 << 10;

fn main() -> ExitCode {
    let Ok([archive, tree, spool]) = views() else {
        eprintln!("supervisor-unpack is started by supervisorctl");
        return ExitCode::FAILURE;
    };
    let answer = match unpack(archive, &tree, spool) {
        Ok(unpacked) => Answer::Unpacked(Box::new(unpacked)),
        Err(refusal) => Answer::Refused(refusal.to_string()),
    };
    let told = serde_json::to_vec(&answer).map_err(io::Error::other);
    match told.and_then(|bytes| io::stdout().lock().write_all(&bytes)) {
        Ok(()) if matches!(answer, Answer::Unpacked(_)) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// The archive, the directory and the spool file, by the numbers that we were started with.
fn views() -> io::Result<[OwnedFd; 3]> {
    let mut words = std::env::args().skip(1);
    let mut view = || {
        let number = words.next().and_then(|word| word.parse().ok());
        take_inherited(number.ok_or(io::ErrorKind::InvalidInput)?)
    };
    Ok([view()?, view()?, view()?])
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
