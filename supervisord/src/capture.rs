//! What is kept of a payload's output: up to a limit per stream, in files, readable while it runs.
//!
//! Bytes go from the pipe into the file within one system call (`splice`), so the daemon may be
//! killed at any moment: a byte is in the pipe or in the file, and the next daemon goes on from the
//! files' lengths. What comes after the limit is thrown away and counted, so the payload never
//! waits for a reader, and no reader costs more than the chunk it is being given.
//!
//! ```text
//!   stdout pipe ──splice──▶ stdout ┐
//!   stderr pipe ──splice──▶ stderr ├──pread──▶ readers, each at its own pace
//!                           index ─┘ (in which order: see `order`)
//! ```

mod files;
mod order;
mod pump;
mod reader;
mod recorder;
mod small;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError, Weak};

use supervisor_api::{OutputSummary, Stream, StreamSummary};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{Mutex, watch};

pub use files::MakeDirectory;
pub use reader::CaptureReader;
pub use small::{MOST as MOST_SMALL, SmallOutput};

use crate::capture::files::{Files, Part};
use crate::capture::order::{Both, Order};
use crate::capture::recorder::Recorder;
use crate::room::Room;

/// The output of one execution.
#[derive(Debug)]
pub struct Capture {
    limit: u64,
    files: Arc<Files>,
    progress: Arc<watch::Sender<Progress>>,
    /// Held by whichever stream has its turn.
    recorder: Arc<Mutex<Recorder>>,
    /// Whether no process is left that could write.
    silent: watch::Sender<bool>,
    /// What was on disk when it was last synced, names and all.
    on_disk: std::sync::Mutex<Option<Extent>>,
    /// The pipes, while they are pumped.
    pipes: std::sync::Mutex<Vec<(Stream, Weak<Receiver>)>>,
}

/// How much there is in the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    kept: Both<u64>,
    cut: Both<u64>,
}

/// How far the capture is. Whatever it says is in the files already.
#[derive(Debug, Clone, Copy)]
struct Progress {
    kept: Both<u64>,
    cut: Both<u64>,
    order: Order,
    finished: bool,
}

impl Progress {
    const NONE: Self = Self {
        kept: Both { stdout: 0, stderr: 0 },
        cut: Both { stdout: 0, stderr: 0 },
        order: Order::new(Stream::Stdout),
        finished: false,
    };
}

impl Capture {
    /// The capture of a new execution, which keeps at most `limit` bytes of each stream. The
    /// directory is the execution's own; it is made with the first byte, and files appear in it.
    pub fn create(make_directory: MakeDirectory, limit: u64) -> Arc<Self> {
        Self::new(Files::without_directory(Some(make_directory)), limit, Progress::NONE)
    }

    /// The capture of an execution that has no directory and never gets one.
    pub fn nothing(limit: u64) -> Arc<Self> {
        let progress = Progress { finished: true, ..Progress::NONE };
        Self::new(Files::without_directory(None), limit, progress)
    }

    /// The capture of an execution that there was before, to go on with it or to read it. Of one
    /// that has finished, [`finish`](Self::finish) is to be called before anything is read.
    pub fn reopen(directory: OwnedFd, limit: u64) -> io::Result<Arc<Self>> {
        let files = Files::new(directory);
        let [stdout, stderr] = [Stream::Stdout, Stream::Stderr].map(Part::Bytes);
        let kept = Both { stdout: files.reopen(stdout)?, stderr: files.reopen(stderr)? };
        files.reopen(Part::Index)?;
        let (order, cut) = order::recover(&files, kept)?;
        Ok(Self::new(files, limit, Progress { kept, cut, order, finished: false }))
    }

    /// Takes in what the payload writes, which may have one stream only, until all are at their end, which is when no
    /// process has them open any more, or until [`drain_rest`](Self::drain_rest).
    ///
    /// A file system without space cuts the stream like its limit does; any other failure of the
    /// machine ends the capture. Dropping the future closes the pipes, and a living payload can
    /// make that wait: kill it first.
    pub async fn pump(&self, stdout: OwnedFd, stderr: Option<OwnedFd>) -> io::Result<()> {
        let stdout = pump::stream(self, Stream::Stdout, stdout);
        let stderr = async {
            match stderr {
                Some(stderr) => pump::stream(self, Stream::Stderr, stderr).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(stdout, stderr).map(drop)
    }

    /// Takes in what the pipes hold at this moment, but for what is more than a pipe of an ordinary user can
    /// hold. The payload can keep a pipe to itself, and this waits for it then.
    pub async fn catch_up(&self) -> io::Result<()> {
        let pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (stream, pipe) in pipes {
            if let Some(pipe) = pipe.upgrade() {
                pump::take_present(self, stream, &pipe).await?;
            }
        }
        drop(self.recorder.lock().await); // held while bytes are on their way
        Ok(())
    }

    /// Returns once both streams together have had more bytes than these, kept or cut.
    pub async fn exceeds(&self, bytes: u64) {
        let more = |progress: &Progress| {
            progress.kept.total().saturating_add(progress.cut.total()) > bytes
        };
        let mut progress = self.progress.subscribe();
        if progress.wait_for(more).await.is_err() {
            std::future::pending().await // there is always a sender: we hold it
        }
    }

    /// Tells the pump that every process of the payload is dead: it takes what the pipes still
    /// hold and ends, even where a write end is open in some other place.
    pub fn drain_rest(&self) {
        self.silent.send_replace(true);
    }

    /// Tells the readers that nothing comes any more. Until then they wait, where they follow.
    pub fn finish(&self) {
        self.progress.send_modify(|progress| progress.finished = true);
    }

    /// The same of an execution that has finished long since. What its record says was cut is told to readers,
    /// though there may have been no room for a file that says so.
    pub fn finish_as(&self, recorded: &OutputSummary) {
        self.progress.send_modify(|progress| {
            let cut = &mut progress.cut;
            cut.stdout = cut.stdout.max(recorded.stdout.cut);
            cut.stderr = cut.stderr.max(recorded.stderr.cut);
            progress.finished = true;
        });
    }

    /// What has been kept and cut so far. After the death of a daemon the count of what was cut
    /// may be short of the bytes that one system call was throwing away just then.
    pub fn summary(&self) -> OutputSummary {
        let Progress { kept, cut, .. } = *self.progress.borrow();
        OutputSummary {
            stdout: StreamSummary { kept: kept.stdout, cut: cut.stdout, sha256: None },
            stderr: StreamSummary { kept: kept.stderr, cut: cut.stderr, sha256: None },
            order_sha256: None,
        }
    }

    /// Leaves room on the file system from now on: where there is no more than that, output is cut.
    pub fn leave(&self, room: Arc<Room>) {
        self.files.leave(room);
    }

    /// It is of an execution of this uid's, and of nobody's until it is said.
    pub fn is_of(&self, owner: u32) {
        self.files.is_of(owner);
    }

    /// What was kept of a stream, if there is a file of it.
    pub fn file(&self, stream: Stream) -> Option<&File> {
        self.files.get(Part::Bytes(stream))
    }

    /// In which order both came, if there is a file that says so.
    pub fn order_file(&self) -> Option<&File> {
        self.files.get(Part::Index)
    }

    /// Has everything on disk when it returns; the directory's own name is its maker's to sync.
    pub async fn sync(&self) -> io::Result<()> {
        if self.files.are_none() {
            return Ok(());
        }
        let files = Arc::clone(&self.files);
        tokio::task::spawn_blocking(move || files.sync()).await?
    }

    /// What is in the files, if that has not been [on disk](Self::note_on_disk) yet.
    pub async fn not_on_disk(&self) -> Option<Extent> {
        let held = self.recorder.lock().await; // nothing is half written
        let Progress { kept, cut, .. } = *self.progress.borrow();
        drop(held);
        let extent = Extent { kept, cut };
        let on_disk = *self.on_disk.lock().unwrap_or_else(PoisonError::into_inner);
        (on_disk != Some(extent)).then_some(extent)
    }

    /// Whoever asked what is not on disk has seen to it, by [`sync`](Self::sync) and by syncing the directory's
    /// own name.
    pub fn note_on_disk(&self, extent: Extent) {
        *self.on_disk.lock().unwrap_or_else(PoisonError::into_inner) = Some(extent);
    }

    /// There is more than bytes of output to have on disk.
    pub fn forget_on_disk(&self) {
        *self.on_disk.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Reads one stream, or both in the order in which they came, from an offset that is counted
    /// over what is read. A reader that follows waits for more until the capture has finished.
    pub fn reader(
        self: &Arc<Self>,
        stream: Option<Stream>,
        offset: u64,
        follow: bool,
    ) -> CaptureReader {
        CaptureReader::new(Arc::clone(self), stream, offset, follow)
    }

    fn new(files: Files, limit: u64, progress: Progress) -> Arc<Self> {
        let files = Arc::new(files);
        let progress = Arc::new(watch::Sender::new(progress));
        let recorder = Recorder::new(Arc::clone(&files), limit, Arc::clone(&progress));
        Arc::new(Self {
            limit,
            files,
            progress,
            recorder: Arc::new(Mutex::new(recorder)),
            silent: watch::Sender::new(false),
            on_disk: std::sync::Mutex::default(),
            pipes: std::sync::Mutex::default(),
        })
    }
}
