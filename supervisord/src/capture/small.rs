//! Output that is so little that its record holds it. Its files are written as any others and synced by nobody:
//! whoever reads them when the host has lost its power meanwhile puts what the record has in their place.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

use supervisor_api::Stream;

use crate::capture::Capture;
use crate::capture::files::{Files, Part};

/// Bytes of all files at the most. To sync them takes as long as to record a thousand times as many, and
/// a caller waits for it.
pub const MOST: u64 = 4096;

/// What the files of a capture hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SmallOutput {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// In which order they came.
    pub index: Vec<u8>,
}

impl Capture {
    /// What the files hold, if it is little.
    pub async fn small(&self) -> io::Result<Option<SmallOutput>> {
        let held = self.recorder.lock().await; // nothing is half written
        let small = read(&self.files);
        drop(held);
        small
    }
}

impl SmallOutput {
    /// Has the files in a directory as they were. Those that are so stay untouched.
    pub fn restore(&self, directory: &OwnedFd) -> io::Result<()> {
        let files = Files::new(directory.try_clone()?);
        let restored = self.restore_to(&files);
        files.close_here();
        restored
    }

    fn restore_to(&self, files: &Files) -> io::Result<()> {
        let mut changed = false;
        for part in Part::ALL {
            let bytes = self.part(part);
            if files.reopen(part)? == bytes.len() as u64 && held(files, part)? == *bytes {
                continue;
            }
            // Two that do this write the same.
            let file = files.open_or_make(part)?;
            let written =
                file.write_all_at(bytes, 0).and_then(|()| file.set_len(bytes.len() as u64));
            written.map_err(|error| part.failed("restore", error))?;
            changed = true;
        }
        if changed { files.sync() } else { Ok(()) }
    }

    /// Bytes of all of it.
    pub fn size(&self) -> usize {
        Part::ALL.into_iter().map(|part| self.part(part).len()).sum()
    }

    const fn part(&self, part: Part) -> &Vec<u8> {
        match part {
            Part::Bytes(Stream::Stdout) => &self.stdout,
            Part::Bytes(Stream::Stderr) => &self.stderr,
            Part::Index => &self.index,
        }
    }
}

fn read(files: &Files) -> io::Result<Option<SmallOutput>> {
    let mut small = SmallOutput::default();
    let mut left = MOST;
    for part in Part::ALL {
        let length = files.length(part)?;
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return Ok(None),
        }
        let bytes = match part {
            Part::Bytes(Stream::Stdout) => &mut small.stdout,
            Part::Bytes(Stream::Stderr) => &mut small.stderr,
            Part::Index => &mut small.index,
        };
        *bytes = held(files, part)?;
    }
    Ok(Some(small))
}

/// All that a file holds; nothing if it isn't there.
fn held(files: &Files, part: Part) -> io::Result<Vec<u8>> {
    let Some(file) = files.get(part) else { return Ok(Vec::new()) };
    let mut bytes = vec![0; files.length(part)? as usize];
    let read = file.read_exact_at(&mut bytes, 0);
    read.map(|()| bytes).map_err(|error| part.failed("read", error))
}
