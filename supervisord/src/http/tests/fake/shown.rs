//! What the fake operations show as it comes: output, questions and events.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use supervisor_api::{Approval, Content, Event, OutputChunk, Stream};
use tokio::sync::{Notify, mpsc};

use crate::http::operations::{Chunks, Follow};

/// Output that a test feeds.
pub struct FakeOutput {
    ready: VecDeque<OutputChunk>,
    live: Option<mpsc::Receiver<OutputChunk>>,
    endless: bool,
    /// Chunks handed out.
    pub read: Arc<AtomicUsize>,
    /// Signalled when the reader is dropped.
    pub dropped: Arc<Notify>,
}

impl FakeOutput {
    pub fn of(chunks: impl IntoIterator<Item = OutputChunk>) -> Self {
        Self::new(chunks.into_iter().collect(), None, false)
    }

    pub fn live() -> (Self, mpsc::Sender<OutputChunk>) {
        let (sender, receiver) = mpsc::channel(8);
        (Self::new(VecDeque::new(), Some(receiver), false), sender)
    }

    pub fn endless() -> Self {
        Self::new(VecDeque::new(), None, true)
    }

    fn new(
        ready: VecDeque<OutputChunk>,
        live: Option<mpsc::Receiver<OutputChunk>>,
        endless: bool,
    ) -> Self {
        Self { ready, live, endless, read: Arc::default(), dropped: Arc::default() }
    }
}

impl Drop for FakeOutput {
    fn drop(&mut self) {
        self.dropped.notify_one();
    }
}

impl Chunks for FakeOutput {
    async fn next(&mut self) -> io::Result<Option<OutputChunk>> {
        let next = match (self.ready.pop_front(), &mut self.live) {
            (Some(chunk), _) => Some(chunk),
            (None, Some(live)) => live.recv().await,
            (None, None) if self.endless => Some(chunk(0, Stream::Stdout, vec![b'x'; 64 * 1024])),
            (None, None) => None,
        };
        self.read.fetch_add(1, Ordering::SeqCst);
        Ok(next)
    }
}

/// One question, once.
pub struct FakeQuestions(pub Option<Approval>);

/// One event, and then the end.
pub struct FakeEvents(pub Option<Event>);

impl Follow for FakeEvents {
    type Item = Event;

    async fn next(&mut self) -> Option<Event> {
        self.0.take()
    }
}

impl Follow for FakeQuestions {
    type Item = Approval;

    async fn next(&mut self) -> Option<Approval> {
        self.0.take()
    }
}

pub fn chunk(offset: u64, stream: Stream, data: impl Into<Vec<u8>>) -> OutputChunk {
    OutputChunk { offset, stream, data: Content(data.into()) }
}

pub fn two_chunks() -> [OutputChunk; 2] {
    [chunk(0, Stream::Stdout, "héllo\n"), chunk(7, Stream::Stderr, [0xff, 0x00])]
}
