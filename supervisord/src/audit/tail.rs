//! Where the log ended: what a start reads before it goes on.
//!
//! All up to the last checkpoint was on disk when the checkpoint was said to be, so damage there is
//! nobody's crash and the start is refused. What comes after may be torn in any way by a machine that
//! lost its power; it is cut off, kept beside the log, and the first new record says so.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};

use supervisor_api::{Chain, Digest32, Head, HeadState, Repair};

use super::directory::{Directory, LogFile};
use super::error::AuditError;
use super::key::SigningKey;

/// The name of the file that says where the log ended.
pub const HEAD: &str = "head";

/// The same once more, beside the directory: a log that is put back whole from an older copy, its head with it,
/// ends earlier than this.
pub const HEAD_BESIDE: &str = "../audit-head";

/// Bytes of it at the most.
const MAX_HEAD: usize = 512;

/// Bytes of one record at the most that a start takes for one; the longest are some kilobytes.
const MAX_LINE: u64 = 1 << 20;

/// Bytes that are kept of what is cut off.
const MAX_CUT: u64 = 1 << 20;

const REMEDY: &str = "examine it with `supervisorctl audit verify`, then move the directory away to \
                      begin a new log";

const REMEDY_OR_ACCEPT: &str = "restore it from a backup, or remove the file `head` beside it to go on \
                                with what is there, which the log will then say";

/// What an earlier daemon left.
#[derive(Debug)]
pub struct Left {
    /// The end of the log.
    pub chain: Chain,
    /// The file to go on with, and its length.
    pub file: Option<(LogFile, u64)>,
    /// What there was to hold the end of the log against.
    pub head: HeadState,
    /// What was cut off.
    pub repair: Option<Repair>,
}

/// One file, read to its end.
struct Scan {
    /// The end of the chain, if there is one whole record.
    chain: Option<Chain>,
    /// Bytes of whole records.
    good: u64,
    /// Whether something comes after them.
    damaged: bool,
    /// Whether a checkpoint comes after that.
    checkpoint_after: bool,
    /// The hash of the record that was asked for.
    asked: Option<Digest32>,
}

/// Reads the end of the log and makes it good.
pub fn read(directory: &Directory, key: &SigningKey) -> Result<Left, AuditError> {
    let head = directory.read_small(HEAD, MAX_HEAD)?;
    let head = match head {
        None => None,
        Some(bytes) => {
            let text = String::from_utf8(bytes).unwrap_or_default();
            let head = Head::parse(&text).filter(|head| head.is_signed(&[key.public()]));
            let bad =
                || refused(directory, "has a head that is not signed by its key", REMEDY_OR_ACCEPT);
            Some(head.ok_or_else(bad)?)
        }
    };
    // Without a head somebody has accepted what there is. One of another key or half written tells nothing.
    let beside = match head {
        Some(_) => directory.read_small(HEAD_BESIDE, MAX_HEAD)?,
        None => None,
    };
    let beside = beside.and_then(|bytes| Head::parse(std::str::from_utf8(&bytes).ok()?));
    let beside = beside.filter(|head| head.is_signed(&[key.public()]));
    let beside = beside.filter(|beside| head.is_none_or(|head| beside.seq > head.seq));
    let head = beside.or(head);
    let mut files = directory.files()?;
    let mut left = match files.pop() {
        None => Left { chain: Chain::default(), file: None, head: HeadState::New, repair: None },
        Some(newest) => read_newest(directory, newest, files.last(), head)?,
    };
    match head {
        Some(head) if head.seq >= left.chain.next => {
            let (has, had) = (left.chain.next - 1, head.seq);
            let reason = format!("ends at record {has}, and {had} were on disk");
            return Err(refused(directory, &reason, REMEDY_OR_ACCEPT));
        }
        Some(_) => left.head = HeadState::Reached,
        None if left.file.is_some() => left.head = HeadState::Missing,
        None => {}
    }
    if let Some((file, good)) = &left.file {
        left.repair = cut(directory, file, *good, left.chain.next)?;
    }
    Ok(left)
}

fn read_newest(
    directory: &Directory,
    newest: LogFile,
    before: Option<&LogFile>,
    head: Option<Head>,
) -> Result<Left, AuditError> {
    let asked = head.map_or(0, |head| head.seq);
    let scan = scan(directory, &newest, asked)?;
    if scan.checkpoint_after {
        return Err(refused(directory, "is damaged before its last checkpoint", REMEDY));
    }
    if let (Some(found), Some(head)) = (scan.asked, head)
        && found != head.hash
    {
        return Err(refused(directory, "is another one than its head says", REMEDY));
    }
    let chain = match (scan.chain, before) {
        (Some(chain), _) => chain,
        // The daemon died between making a file and writing its first record.
        (None, None) if newest.first == 1 => Chain::default(),
        (None, None) => return Err(refused(directory, "has no whole record", REMEDY)),
        (None, Some(before)) => {
            let earlier = self::scan(directory, before, asked)?;
            let whole = earlier.chain.filter(|_| !earlier.damaged);
            whole.ok_or_else(|| refused(directory, "is damaged before its last file", REMEDY))?
        }
    };
    Ok(Left { chain, file: Some((newest, scan.good)), head: HeadState::Reached, repair: None })
}

fn scan(directory: &Directory, file: &LogFile, asked: u64) -> Result<Scan, AuditError> {
    let failed = || AuditError::at("read", &file.path);
    let handle = directory.append(file)?;
    let mut reader = BufReader::with_capacity(1 << 18, handle);
    let mut scan =
        Scan { chain: None, good: 0, damaged: false, checkpoint_after: false, asked: None };
    let (mut chain, mut line) = (Chain::unknown(), Vec::new());
    loop {
        line.clear();
        let count = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).map_err(failed())?;
        if count == 0 {
            return Ok(scan);
        }
        let whole = line.strip_suffix(b"\n");
        if scan.damaged {
            let alone = |line| Chain::unknown().follow(line).is_some_and(|it| it.is_checkpoint);
            scan.checkpoint_after |= whole.is_some_and(alone);
        } else if whole.is_some_and(|line| chain.follow(line).is_some()) {
            scan.good += count as u64;
            scan.chain = Some(chain);
            if chain.next == asked + 1 {
                scan.asked = Some(chain.last);
            }
        } else {
            scan.damaged = true;
        }
    }
}

/// Cuts off what is after the whole records, keeping it beside the log.
fn cut(
    directory: &Directory,
    file: &LogFile,
    good: u64,
    next: u64,
) -> Result<Option<Repair>, AuditError> {
    let mut handle = directory.append(file)?;
    let failed = || AuditError::at("repair", &file.path);
    let length = handle.metadata().map_err(failed())?.len();
    if length == good {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    handle.seek(SeekFrom::Start(good)).map_err(failed())?;
    (&handle).take(MAX_CUT).read_to_end(&mut bytes).map_err(failed())?;
    let kept = format!("cut-{next:020}");
    let mut aside: File = directory.overwrite(&kept)?;
    aside.write_all(&bytes).and_then(|()| aside.sync_all()).map_err(failed())?;
    handle.set_len(good).and_then(|()| handle.sync_all()).map_err(failed())?;
    let sha256 = Digest32::of(&bytes).to_string();
    Ok(Some(Repair { bytes: length - good, sha256, kept }))
}

fn refused(directory: &Directory, reason: &str, remedy: &'static str) -> AuditError {
    let (path, reason) = (directory.path().to_owned(), reason.to_owned());
    AuditError::Refused { path, reason, remedy }
}
