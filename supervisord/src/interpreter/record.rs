//! The file with the cells of one interpreter: every change is a line, the whole cell as it is then, so that a
//! daemon that was killed finds them again. All of it blocks on the file system.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write as _};
use std::sync::Arc;

use nix::fcntl::{OFlag, renameat};
use serde::{Deserialize, Serialize};
use supervisor_api::{Cell, ExecutionId};

use super::cells::Cells;
use crate::places::Places;
use crate::regular;

/// Its name in the execution's directory, and that of the one that is to take its place.
const CELLS: &str = "cells";
const NEW: &str = "cells.new";

/// Bytes of the file below which it is never written anew.
const MIN_RENEWED: u64 = 8 << 20;

/// Bytes of the file at the most. What is kept of cells, twice, is less; a file that can't be written anew does
/// not grow past this either: what is not in it has not been accepted.
const MAX_FILE: u64 = 64 << 20;

/// Bytes of a line at the most: a cell's text of 1 MiB, six bytes for each of its own, and a line of the channel.
const MAX_LINE: u64 = 10 << 20;

/// The file.
#[derive(Debug)]
pub struct Record {
    places: Arc<Places>,
    id: ExecutionId,
    /// Until it is [closed](Self::close).
    file: Option<File>,
    length: u64,
}

/// A line of the file.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    rested: u64,
    #[serde(flatten)]
    cell: Cell,
}

/// The same, to be written.
#[derive(Serialize)]
struct Written<'a> {
    rested: u64,
    #[serde(flatten)]
    cell: &'a Cell,
}

/// A cell as a line, when the execution had been paused for so many milliseconds at its last turn.
pub fn line(rested: u64, cell: &Cell) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Written { rested, cell })?;
    line.push(b'\n');
    if line.len() as u64 > MAX_LINE {
        return Err(io::ErrorKind::QuotaExceeded.into()); // nobody could read it
    }
    Ok(line)
}

impl Record {
    /// Opens that of an execution, made if need be, and reads the cells that it holds. A last line that was cut
    /// off is a change that nobody heard of.
    pub fn open(places: &Arc<Places>, id: ExecutionId) -> io::Result<(Self, Cells)> {
        let mut file = open(places, id, CELLS, OFlag::empty())?;
        let (mut cells, mut length) = (Cells::default(), 0);
        let mut reader = BufReader::new(&mut file);
        let mut line = Vec::new();
        while (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)? > 0 {
            let whole = line.strip_suffix(b"\n");
            let Some(read) = whole.and_then(|line| serde_json::from_slice::<Line>(line).ok())
            else {
                break;
            };
            length += line.len() as u64;
            cells.rested = read.rested;
            cells.place(Arc::new(read.cell), line.len(), None);
            line.clear();
        }
        file.set_len(length)?; // it is open for appending
        Ok((Self { places: places.clone(), id, file: Some(file), length }, cells))
    }

    /// That of one that has ended: nothing is written.
    pub fn closed(places: &Arc<Places>, id: ExecutionId) -> Self {
        Self { places: places.clone(), id, file: None, length: 0 }
    }

    /// Lets go of the file: nothing changes any more.
    pub fn close(&mut self) {
        self.file = None;
    }

    /// Whether so much of it is of the past that it is to be written anew, where what is kept takes so much.
    pub fn is_due(&self, kept: u64) -> bool {
        self.length > MIN_RENEWED.max(2 * kept)
    }

    /// Adds lines. Not synced: a machine that stops takes the interpreter along.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let file = self.file.as_mut().ok_or_else(|| io::Error::other("its file is closed"))?;
        if self.length + lines.len() as u64 > MAX_FILE {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        if let Err(error) = file.write_all(lines) {
            file.set_len(self.length)?; // no half of a line among whole ones
            return Err(error);
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Has a file with these cells only take its place; until then the old one stays, whatever happens.
    pub fn renew(&mut self, rested: u64, kept: &[Arc<Cell>]) -> io::Result<()> {
        let mut writer = BufWriter::new(open(&self.places, self.id, NEW, OFlag::O_TRUNC)?);
        let mut length = 0;
        for cell in kept {
            let line = line(rested, cell)?;
            length += line.len() as u64;
            writer.write_all(&line)?;
        }
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        let place = self.places.open_place(self.id)?;
        renameat(&place, NEW, &place, CELLS)?;
        (self.file, self.length) = (Some(file), length);
        Ok(())
    }
}

/// Whatever is written goes to its end.
fn open(places: &Places, id: ExecutionId, name: &str, more: OFlag) -> io::Result<File> {
    let how = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_APPEND | more;
    regular::open(places.open_place(id)?, name, how)
}
