//! In which order the bytes of both streams came.
//!
//! The order is a sequence of runs, of one stream and the other in turn. The file `index` holds the
//! lengths of all runs but the last; that one reaches to the end of its stream's file. So the index
//! is written only when the stream changes, and output on stdout alone needs none.
//!
//! ```text
//!   8 bytes  "svindex" and the first run's stream: 'o' or 'e'
//!   8 bytes  bytes cut of stdout       8 bytes  bytes cut of stderr
//!   8 bytes  length of run 0           8 bytes  length of run 1 …      all little-endian
//! ```
//!
//! The bytes of a new run come into their file before the run before it is closed in the index. A
//! daemon killed in between leaves bytes of both streams that the index doesn't cover: then those
//! of the run that was open come first, because some of them may have been read already, and
//! none of the others.

use std::io::{self, BufReader, Read, Seek as _};
use std::os::unix::fs::FileExt as _;

use supervisor_api::Stream;

use crate::capture::files::{Files, Part};

/// How an index begins, up to the letter for the first run's stream.
const MAGIC: &[u8; 7] = b"svindex";

/// Length of what comes before the runs.
const HEADER: u64 = 24;

/// Length of a run's record.
const RECORD: u64 = 8;

/// One value for each stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Both<T> {
    pub(super) stdout: T,
    pub(super) stderr: T,
}

/// What the index says, in three numbers: enough to go on with it and to find one's way in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    first: Stream,
    runs: u64,
    closed: Both<u64>,
}

impl<T: Copy> Both<T> {
    pub(super) const fn get(&self, stream: Stream) -> T {
        match stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        }
    }

    pub(super) const fn get_mut(&mut self, stream: Stream) -> &mut T {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

impl Both<u64> {
    /// Of both streams together.
    pub(super) const fn total(&self) -> u64 {
        self.stdout.saturating_add(self.stderr)
    }
}

impl Order {
    /// No run closed; the first one is of this stream.
    pub(super) const fn new(first: Stream) -> Self {
        Self { first, runs: 0, closed: Both { stdout: 0, stderr: 0 } }
    }

    /// How many runs are closed, which is also the number of the open one.
    pub(super) const fn runs(&self) -> u64 {
        self.runs
    }

    /// The stream of a run.
    pub(super) const fn stream(&self, run: u64) -> Stream {
        if run.is_multiple_of(2) { self.first } else { other(self.first) }
    }

    /// The stream of the open run.
    pub(super) const fn open(&self) -> Stream {
        self.stream(self.runs)
    }

    /// How long the open run is, given the lengths of the files.
    pub(super) const fn open_length(&self, kept: Both<u64>) -> u64 {
        let stream = self.open();
        kept.get(stream).saturating_sub(self.closed.get(stream))
    }

    /// The order after the open run was closed at this length.
    #[must_use]
    pub(super) const fn close(mut self, length: u64) -> Self {
        let closed = self.closed.get_mut(self.open());
        *closed = closed.saturating_add(length);
        self.runs += 1;
        self
    }

    /// Whether the open run can have ended at this length.
    fn fits(&self, length: u64, kept: Both<u64>) -> bool {
        length <= self.open_length(kept)
    }

    /// The order in which only bytes of the open run are not closed, and the length at which the
    /// open run of this one has to be closed for that. `last` is the length of the last closed run.
    fn settle(mut self, last: u64, kept: Both<u64>) -> (Self, Option<u64>) {
        let (open, length) = (self.open(), self.open_length(kept));
        let others = other(open);
        if kept.get(others) == self.closed.get(others) {
            return (self, None);
        }
        if length > 0 {
            return (self.close(length), Some(length));
        }
        // The machine failed, not the daemon: a run is gone, so its neighbours are one.
        if self.runs == 0 {
            return (Self::new(others), None);
        }
        self.runs -= 1;
        let closed = self.closed.get_mut(others);
        *closed = closed.saturating_sub(last);
        (self, None)
    }
}

/// Records which stream came first and how much was cut.
pub(super) fn write_header(files: &Files, first: Stream, cut: Both<u64>) -> io::Result<()> {
    let letter = match first {
        Stream::Stdout => *b"o",
        Stream::Stderr => *b"e",
    };
    let (stdout, stderr) = (cut.stdout.to_le_bytes(), cut.stderr.to_le_bytes());
    let header = [&MAGIC[..], &letter, &stdout, &stderr].concat();
    let file = files.make(Part::Index)?;
    file.write_all_at(&header, 0).map_err(|error| Part::Index.failed("write", error))
}

/// Closes the open run of this order in the index.
pub(super) fn write_run(
    files: &Files,
    order: &Order,
    length: u64,
    cut: Both<u64>,
) -> io::Result<()> {
    if order.runs == 0 {
        write_header(files, order.first, cut)?;
    }
    let file = files.make(Part::Index)?;
    file.write_all_at(&length.to_le_bytes(), position(order.runs))
        .map_err(|error| Part::Index.failed("write", error))
}

/// The length of a closed run.
pub(super) fn read_run(files: &Files, run: u64) -> io::Result<u64> {
    let mut record = [0; RECORD as usize];
    let file = files.get(Part::Index).ok_or(io::ErrorKind::NotFound);
    file.map_err(io::Error::from)
        .and_then(|file| file.read_exact_at(&mut record, position(run)))
        .map_err(|error| Part::Index.failed("read", error))?;
    Ok(u64::from_le_bytes(record))
}

/// What the index says of files of these lengths, and how much was cut. What the index doesn't say,
/// or says and can't be, is made up; so an index that is damaged costs the order and nothing else.
pub(super) fn recover(files: &Files, kept: Both<u64>) -> io::Result<(Order, Both<u64>)> {
    let stderr_alone = kept.stdout == 0 && kept.stderr > 0;
    let guess = if stderr_alone { Stream::Stderr } else { Stream::Stdout };
    let Some(mut file) = files.get(Part::Index) else {
        return complete(files, None, (Order::new(guess), 0), kept);
    };
    let failed = |error| Part::Index.failed("read", error);
    file.rewind().map_err(failed)?;
    let mut index = BufReader::new(file);
    let header = read::<{ HEADER as usize }>(&mut index).map_err(failed)?.and_then(parse);
    let (mut order, mut last) = (Order::new(header.map_or(guess, |(first, _)| first)), 0);
    while let Some(record) = read(&mut index).map_err(failed)? {
        let length = u64::from_le_bytes(record);
        if !order.fits(length, kept) {
            break;
        }
        (order, last) = (order.close(length), length);
    }
    complete(files, header, (order, last), kept)
}

/// Brings what was read of an index to where only the open run's bytes are not covered, and the
/// file with it. Writes nothing where nothing is to be changed: the output of an execution that
/// has finished can be read on a full disk.
fn complete(
    files: &Files,
    header: Option<(Stream, Both<u64>)>,
    (order, last): (Order, u64),
    kept: Both<u64>,
) -> io::Result<(Order, Both<u64>)> {
    let cut = header.map_or_else(Both::default, |(_, cut)| cut);
    let (whole, added) = order.settle(last, kept);
    let needs_header = files.get(Part::Index).is_some() || whole.first == Stream::Stderr;
    if let Some(length) = added {
        write_run(files, &order, length, cut)?;
    } else if needs_header && header != Some((whole.first, cut)) {
        write_header(files, whole.first, cut)?;
    }
    if let Some(file) = files.get(Part::Index) {
        let length = file.metadata().map_err(|error| Part::Index.failed("examine", error))?.len();
        if length != position(whole.runs) {
            let shortened = file.set_len(position(whole.runs));
            shortened.map_err(|error| Part::Index.failed("shorten", error))?;
        }
    }
    Ok((whole, cut))
}

/// The next bytes, if there are so many.
fn read<const LENGTH: usize>(index: &mut impl Read) -> io::Result<Option<[u8; LENGTH]>> {
    let mut bytes = [0; LENGTH];
    match index.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// The first run's stream and what was cut.
fn parse(header: [u8; HEADER as usize]) -> Option<(Stream, Both<u64>)> {
    let (letter, counts) = header.strip_prefix(MAGIC)?.split_first()?;
    let first = match letter {
        b'o' => Stream::Stdout,
        b'e' => Stream::Stderr,
        _ => return None,
    };
    let (stdout, rest) = counts.split_first_chunk()?;
    let stderr = rest.first_chunk()?;
    let cut = Both { stdout: u64::from_le_bytes(*stdout), stderr: u64::from_le_bytes(*stderr) };
    Some((first, cut))
}

/// Where a run's record stands.
const fn position(run: u64) -> u64 {
    HEADER + run * RECORD
}

const fn other(stream: Stream) -> Stream {
    match stream {
        Stream::Stdout => Stream::Stderr,
        Stream::Stderr => Stream::Stdout,
    }
}
