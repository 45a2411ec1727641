//! Looking for records in the log's own files. Nothing is indexed: files have their first record's
//! number as a name, records stand in the order of their numbers and of their times, so the place to
//! begin is found by halving, and what can't match is passed over unread.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use supervisor_api::{AuditFilter, AuditPage, AuditRecord, Chain};

use super::directory::{LogFile, files};
use super::error::AuditError;

/// Bytes that one call looks at: a tenth of a second on a slow machine. The page then says where to go
/// on.
const LOOKED_AT: u64 = 32 << 20;

/// Bytes of records in one page.
const PAGE: usize = 4 << 20;

/// Bytes within which halving ends.
const NEAR: u64 = 64 << 10;

/// Bytes that hold the beginning of a record, wherever one begins to look.
const WINDOW: usize = 16 << 10;

/// Records after this number that match, oldest first.
pub fn search(
    directory: &Path,
    filter: &AuditFilter,
    after: u64,
    limit: usize,
) -> Result<AuditPage, AuditError> {
    find(directory, filter, after, limit).map_err(AuditError::at("search", directory))
}

fn find(directory: &Path, filter: &AuditFilter, after: u64, limit: usize) -> io::Result<AuditPage> {
    let mut page = AuditPage { records: Vec::new(), next: None };
    let (mark, mut looked, mut size) = (filter.mark(), 0, 0);
    let comes_first = |seq: u64, time: &str| {
        seq <= after || filter.since.as_ref().is_some_and(|since| time < since.as_str())
    };
    for file in beginning(files(directory)?, &comes_first) {
        let mut handle = match File::open(&file.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // removed meanwhile
            other => other?,
        };
        let start = halve(&handle, &comes_first)?;
        handle.seek(SeekFrom::Start(start))?;
        let mut reader = BufReader::with_capacity(1 << 17, handle);
        let mut line = Vec::new();
        loop {
            line.clear();
            looked += reader.read_until(b'\n', &mut line)? as u64;
            let Some(whole) = line.strip_suffix(b"\n") else { break };
            let Some((seq, time)) = Chain::place(whole) else { continue };
            if comes_first(seq, time) {
                continue;
            }
            if filter.until.as_ref().is_some_and(|until| time >= until.as_str()) {
                return Ok(page);
            }
            if mark.as_ref().is_none_or(|mark| holds(whole, mark))
                && let Ok(record) = serde_json::from_slice::<AuditRecord>(whole)
                && filter.matches(&record)
            {
                size += whole.len();
                page.records.push(record);
            }
            if page.records.len() >= limit || size > PAGE || looked > LOOKED_AT {
                page.next = Some(seq);
                return Ok(page);
            }
        }
    }
    Ok(page)
}

/// The files without those at the beginning that hold nothing of interest.
fn beginning(mut files: Vec<LogFile>, comes_first: &impl Fn(u64, &str) -> bool) -> Vec<LogFile> {
    let starts_too_early = |file: &LogFile| {
        let first = File::open(&file.path).and_then(|handle| first_from(&handle, 0));
        matches!(first, Ok(Some((_, seq, time))) if comes_first(seq, &time))
    };
    let keep = files.iter().rposition(starts_too_early).unwrap_or(0);
    files.drain(..keep);
    files
}

/// A place at or before the first record that doesn't come first, and not long before it.
fn halve(handle: &File, comes_first: &impl Fn(u64, &str) -> bool) -> io::Result<u64> {
    let (mut low, mut high) = (0, handle.metadata()?.len());
    while high - low > NEAR {
        let middle = low + (high - low) / 2;
        match first_from(handle, middle)? {
            Some((place, seq, time)) if comes_first(seq, &time) => low = place.max(low + 1),
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The first record that begins at or after this place: where, its number and its time. `None` if no
/// line begins within the window.
fn first_from(handle: &File, place: u64) -> io::Result<Option<(u64, u64, String)>> {
    let from = place.saturating_sub(1); // a line begins where the byte before ends one
    let mut bytes = vec![0; WINDOW];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match handle.read_at(rest, from + filled as u64)? {
            0 => break,
            more => filled += more,
        }
    }
    bytes.truncate(filled);
    let start = match place {
        0 => Some(0),
        _ => bytes.iter().position(|byte| *byte == b'\n').map(|end| end + 1),
    };
    let found = start.and_then(|start| {
        // The beginning is enough, cut where no character is.
        let line = bytes.get(start..)?;
        let line = line.get(..line.len().min(128))?;
        let (seq, time) = Chain::place(ascii(line))?;
        Some((from + start as u64, seq, time.to_owned()))
    });
    Ok(found)
}

/// The part of it before the first byte that is not ASCII; number and time are.
fn ascii(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| !byte.is_ascii()).unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or_default()
}

fn holds(line: &[u8], mark: &str) -> bool {
    std::str::from_utf8(line).is_ok_and(|line| line.contains(mark))
}
