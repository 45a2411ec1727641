//! Looking for records in the log's own files. Nothing is indexed: files have their first record's
//! number as a name, and records stand in the order of their numbers and, within one file, of their times, so the place
//! to begin in it is found by halving, and what can't match is passed over unread. A host's clock that is set back
//! begins a new file: times of one file may come again in the next.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use supervisor_api::{AuditFilter, AuditPage, AuditRecord, AuditTime, Chain};

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

/// Bytes of a record that hold its number and its time.
const PLACED: usize = 128;

/// When something began and ended, by the host's clock, which may have been set meanwhile: where to look for what
/// was recorded between.
#[derive(Debug, Clone, Default)]
pub struct Span {
    /// Not after its first record.
    pub from: Option<AuditTime>,
    /// Not before its first record.
    pub begun: Option<AuditTime>,
    /// After its last record.
    pub to: Option<AuditTime>,
}

/// Records after this number that match, oldest first: those of a span, where one is given, and whatever times they have.
pub fn search(
    directory: &Path,
    filter: &AuditFilter,
    span: Option<&Span>,
    after: u64,
    limit: usize,
) -> Result<AuditPage, AuditError> {
    find(directory, filter, span, after, limit).map_err(AuditError::at("search", directory))
}

fn find(
    directory: &Path,
    filter: &AuditFilter,
    span: Option<&Span>,
    after: u64,
    limit: usize,
) -> io::Result<AuditPage> {
    let mut page = AuditPage { records: Vec::new(), next: None };
    let (mark, mut looked, mut size) = (filter.mark(), 0, 0);
    let parts = match span {
        Some(span) => of_span(timed(directory, 0)?, span)?,
        None => {
            let window = (filter.since.clone(), filter.until.clone());
            timed(directory, after)?.into_iter().map(|file| (file, window.clone())).collect()
        }
    };
    for (file, (since, until)) in parts {
        let comes_first = |seq: u64, time: &str| {
            seq <= after || since.as_ref().is_some_and(|since| time < since.as_str())
        };
        if is_at_or_after(&file, until.as_ref()) {
            continue;
        }
        let Some(mut handle) = open(&file.path)? else { continue };
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
            if until.as_ref().is_some_and(|until| time >= until.as_str()) {
                break;
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

/// A file of the log, and the time of its first record.
struct Timed {
    path: PathBuf,
    time: String,
}

/// Times between which records of a file are looked at; all of them where there is none.
type Window = (Option<AuditTime>, Option<AuditTime>);

/// The files that hold records after this number, oldest first.
fn timed(directory: &Path, after: u64) -> io::Result<Vec<Timed>> {
    let files: Vec<LogFile> = files(directory)?;
    let ends: Vec<u64> = files.iter().skip(1).map(|next| next.first).chain([u64::MAX]).collect();
    let mut timed = Vec::new();
    for (file, end) in files.into_iter().zip(ends) {
        if end <= after.saturating_add(1) {
            continue;
        }
        let Some(handle) = open(&file.path)? else { continue };
        let mut bytes = vec![0; PLACED];
        let length = handle.read_at(&mut bytes, 0)?;
        bytes.truncate(length);
        // One that is empty has nothing to be found.
        let time = Chain::place(ascii(&bytes)).map(|(_, time)| time.to_owned());
        timed.extend(time.map(|time| Timed { path: file.path, time }));
    }
    Ok(timed)
}

/// A file, unless it was removed meanwhile.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// The files of a span: from the first one that it can have begun in to the last one that it can have ended in. What
/// stands between belongs to it whatever the clock said then.
fn of_span(files: Vec<Timed>, span: &Span) -> io::Result<Vec<(Timed, Window)>> {
    let mut first = None;
    for (at, file) in files.iter().enumerate() {
        let begins = !is_at_or_after(file, span.begun.as_ref());
        if begins && reaches(&file.path, span.from.as_ref())? {
            first = Some(at);
            break;
        }
    }
    let last = files.iter().rposition(|file| !is_at_or_after(file, span.to.as_ref()));
    let (Some(first), Some(last)) = (first, last) else { return Ok(Vec::new()) };
    let windows = files.into_iter().enumerate().skip(first).take((last + 1).saturating_sub(first));
    Ok(windows
        .map(|(at, file)| {
            let from = span.from.clone().filter(|_| at == first);
            (file, (from, span.to.clone().filter(|_| at == last)))
        })
        .collect())
}

/// Whether all of a file is at or after a time.
fn is_at_or_after(file: &Timed, time: Option<&AuditTime>) -> bool {
    time.is_some_and(|time| file.time.as_str() >= time.as_str())
}

/// Whether a file has a record at or after a time.
fn reaches(path: &Path, time: Option<&AuditTime>) -> io::Result<bool> {
    let Some(time) = time else { return Ok(true) };
    let Some(handle) = open(path)? else { return Ok(false) };
    let mut place = halve(&handle, &|_, known| known < time.as_str())?;
    while let Some((at, _, known)) = first_from(&handle, place)? {
        if known.as_str() >= time.as_str() {
            return Ok(true);
        }
        place = at + 1;
    }
    Ok(false)
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
        let line = line.get(..line.len().min(PLACED))?;
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

#[cfg(test)]
mod tests;
