//! The watch over one stream of bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::automaton::{Automaton, Place};
use super::escape::{Unescaped, Unescaper};
use super::{UNHELD, Watch, fold};

/// Line ends in a row that may stand within a secret: base64 of mail is broken into lines (RFC 2045
/// §6.8). More would let an upstream make us hold back without end.
const LINE_ENDS: usize = 2;

/// A secret was seen. What of it had been held back is not given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen;

/// Watches one stream.
pub struct Watcher {
    views: Vec<View>,
    /// Whether a byte can be the first of a secret, or of an escape.
    beginnings: [bool; 256],
    /// Bytes that could be the beginning of a secret.
    held: Bytes,
}

/// A stream as one watch sees it: as it is, and with escapes taken back.
struct View {
    watch: Arc<Watch>,
    plain: Place,
    unescaped: Place,
    unescaper: Unescaper,
    /// Bytes of the stream behind each character read so far of a pattern.
    widths: VecDeque<usize>,
    line_ends: usize,
}

impl Watcher {
    /// A watcher for a stream that begins.
    pub fn new(watches: Vec<Arc<Watch>>) -> Self {
        let mut beginnings = [false; 256];
        for (byte, begins) in (0..=u8::MAX).zip(&mut beginnings) {
            let mut automata = watches.iter().map(|watch| &watch.0);
            *begins = Unescaper::begins_with(byte)
                || automata.any(|automaton| automaton.begins_with(fold(byte)));
        }
        let views = watches.into_iter().map(View::new).collect();
        Self { views, beginnings, held: Bytes::new() }
    }

    /// Takes the next bytes and gives those that may pass, which may be none.
    ///
    /// # Errors
    /// A secret was seen. The stream must end here.
    pub fn pass(&mut self, chunk: Bytes) -> Result<Bytes, Seen> {
        self.examine(&chunk)?;
        let back = self.views.iter().map(View::back).max().unwrap_or(0);
        let mut bytes = if self.held.is_empty() {
            chunk
        } else {
            let mut both = BytesMut::with_capacity(self.held.len() + chunk.len());
            both.extend_from_slice(&self.held);
            both.extend_from_slice(&chunk);
            both.freeze()
        };
        self.held = bytes.split_off(bytes.len().saturating_sub(back));
        Ok(bytes)
    }

    /// The stream has ended: what was held back was no secret.
    pub fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.held)
    }

    /// Bytes held back.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes the next bytes without keeping any.
    ///
    /// # Errors
    /// A secret was seen.
    pub fn examine(&mut self, mut bytes: &[u8]) -> Result<(), Seen> {
        if self.views.is_empty() {
            return Ok(());
        }
        loop {
            if self.views.iter().all(View::is_idle) {
                let begins = |byte: &u8| self.beginnings.get(usize::from(*byte)) != Some(&false);
                let skip = bytes.iter().position(begins).unwrap_or(bytes.len());
                bytes = bytes.get(skip..).unwrap_or_default();
            }
            let Some((byte, rest)) = bytes.split_first() else { return Ok(()) };
            for view in &mut self.views {
                view.read(*byte)?;
            }
            bytes = rest;
        }
    }
}

impl View {
    fn new(watch: Arc<Watch>) -> Self {
        Self {
            watch,
            plain: Place::ROOT,
            unescaped: Place::ROOT,
            unescaper: Unescaper::default(),
            widths: VecDeque::new(),
            line_ends: 0,
        }
    }

    /// Whether nothing has been read that counts.
    fn is_idle(&self) -> bool {
        self.plain == Place::ROOT
            && self.unescaped == Place::ROOT
            && !self.unescaper.is_pending()
    }

    fn read(&mut self, byte: u8) -> Result<(), Seen> {
        let Self { watch, plain, unescaped, unescaper, widths, line_ends } = self;
        let automaton = &watch.0;
        *plain = automaton.step(*plain, fold(byte));
        let mut seen = automaton.ends(*plain);
        unescaper.push(byte, |found| {
            *unescaped = follow(automaton, *unescaped, found, widths, line_ends);
            seen |= automaton.ends(*unescaped);
        });
        if seen { Err(Seen) } else { Ok(()) }
    }

    /// Bytes at the end of what has been read that could be the beginning of a secret.
    fn back(&self) -> usize {
        let automaton = &self.watch.0;
        let held = |depth: usize, width: usize| if depth > UNHELD { width } else { 0 };
        let plain = automaton.depth(self.plain);
        let unescaped = automaton.depth(self.unescaped);
        let width = self.widths.iter().sum::<usize>() + self.unescaper.pending();
        held(plain, plain).max(held(unescaped, width))
    }
}

/// One more character of the unescaped text. Line ends within a pattern are passed over.
fn follow(
    automaton: &Automaton,
    from: Place,
    found: Unescaped,
    widths: &mut VecDeque<usize>,
    line_ends: &mut usize,
) -> Place {
    if matches!(found.byte, b'\r' | b'\n') {
        *line_ends += 1;
        return match widths.back_mut() {
            Some(last) if *line_ends <= LINE_ENDS => {
                *last += found.width;
                from
            }
            _ => {
                widths.clear();
                Place::ROOT
            }
        };
    }
    *line_ends = 0;
    let to = automaton.step(from, fold(found.byte));
    widths.push_back(found.width);
    while widths.len() > automaton.depth(to) {
        widths.pop_front();
    }
    to
}
