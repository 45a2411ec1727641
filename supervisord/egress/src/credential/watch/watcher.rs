//! The watch over one stream of bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::automaton::{Automaton, Place};
use super::escape::{Kind, Unescaped, Unescaper};
use super::{UNHELD, Watch, fold};
use crate::without::without;

/// Line ends in a row that may stand within a secret: base64 of mail is broken into lines (RFC 2045
/// §6.8). More would let an upstream make us hold back without end.
const LINE_ENDS: usize = 2;

/// A secret was seen. What of it had been held back is not given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen;

/// Watches one stream.
pub struct Watcher {
    searches: Vec<Search>,
    /// Whether a byte can be the first of a secret, or of an escape.
    beginnings: [bool; 256],
    /// Bytes that could be the beginning of a secret.
    held: Bytes,
}

/// The search of one stream for one watch's secrets: as it stands, and, from where an escape begins to
/// where it makes no difference any more, with the escapes of one kind taken back.
struct Search {
    watch: Arc<Watch>,
    plain: Place,
    views: [View; Kind::ALL.len()],
}

/// A stream with the escapes of one kind taken back.
struct View {
    is_active: bool,
    place: Place,
    unescaper: Unescaper,
    /// Bytes of the stream behind each character read so far of a pattern.
    widths: VecDeque<usize>,
    line_ends: usize,
}

impl Watcher {
    /// A watcher for a stream that begins.
    pub fn new(watches: Vec<Arc<Watch>>) -> Self {
        let beginnings = beginnings(&watches);
        let searches = watches.into_iter().map(Search::new).collect();
        Self { searches, beginnings, held: Bytes::new() }
    }

    /// From here on it searches for these, and goes on with those that it searched for before.
    pub(super) fn search_for(&mut self, watches: &[Arc<Watch>]) {
        self.searches
            .retain(|search| watches.iter().any(|watch| Arc::ptr_eq(watch, &search.watch)));
        for watch in watches {
            if !self.searches.iter().any(|search| Arc::ptr_eq(watch, &search.watch)) {
                self.searches.push(Search::new(watch.clone()));
            }
        }
        self.beginnings = beginnings(watches);
    }

    /// Takes the next bytes and gives those that may pass, which may be none.
    ///
    /// # Errors
    /// A secret was seen. The stream must end here.
    pub fn pass(&mut self, chunk: Bytes) -> Result<Bytes, Seen> {
        self.examine(&chunk)?;
        let back = self.back();
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

    /// Forgets what it has read: another text begins.
    pub(super) fn restart(&mut self) {
        self.held.clear();
        for search in &mut self.searches {
            search.plain = Place::ROOT;
            search.views = Kind::ALL.map(View::new);
        }
    }

    /// Bytes at the end of what has been read that could be the beginning of a secret.
    pub(super) fn back(&self) -> usize {
        self.searches.iter().map(Search::back).max().unwrap_or(0)
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
        if self.searches.is_empty() || without("secret-search") {
            return Ok(());
        }
        loop {
            if self.searches.iter().all(Search::is_idle) {
                let begins = |byte: &u8| self.beginnings.get(usize::from(*byte)) != Some(&false);
                let skip = bytes.iter().position(begins).unwrap_or(bytes.len());
                bytes = bytes.get(skip..).unwrap_or_default();
            }
            let Some((byte, rest)) = bytes.split_first() else { return Ok(()) };
            for search in &mut self.searches {
                search.read(*byte)?;
            }
            bytes = rest;
        }
    }
}

impl Search {
    fn new(watch: Arc<Watch>) -> Self {
        Self { watch, plain: Place::ROOT, views: Kind::ALL.map(View::new) }
    }

    /// Whether nothing has been read that counts.
    fn is_idle(&self) -> bool {
        self.plain == Place::ROOT && !self.views.iter().any(|view| view.is_active)
    }

    fn read(&mut self, byte: u8) -> Result<(), Seen> {
        let Self { watch, plain, views } = self;
        let automaton = &watch.automaton;
        let before = *plain;
        *plain = automaton.step(before, fold(byte));
        let mut seen = automaton.ends(*plain);
        for view in views {
            if !view.is_active && view.unescaper.kind().begins_with(byte) {
                view.begin(automaton, before);
            }
            if view.is_active {
                seen |= view.read(automaton, byte);
                view.is_active = !view.agrees_with(automaton, *plain);
            }
        }
        if seen { Err(Seen) } else { Ok(()) }
    }

    /// Bytes at the end of what has been read that could be the beginning of a secret.
    fn back(&self) -> usize {
        let automaton = &self.watch.automaton;
        let depth = automaton.depth(self.plain);
        let plain = if depth > UNHELD { depth } else { 0 };
        let active = self.views.iter().filter(|view| view.is_active);
        active.map(|view| view.back(automaton)).fold(plain, usize::max)
    }
}

impl View {
    fn new(kind: Kind) -> Self {
        Self {
            is_active: false,
            place: Place::ROOT,
            unescaper: Unescaper::new(kind),
            widths: VecDeque::new(),
            line_ends: 0,
        }
    }

    /// Goes on from where the search has come to without it.
    fn begin(&mut self, automaton: &Automaton, place: Place) {
        self.is_active = true;
        self.place = place;
        self.line_ends = 0;
        self.widths.clear();
        self.widths.extend(std::iter::repeat_n(1, automaton.depth(place)));
    }

    /// Reads a byte; whether a secret ends with it.
    fn read(&mut self, automaton: &Automaton, byte: u8) -> bool {
        let Self { place, unescaper, widths, line_ends, .. } = self;
        let mut seen = false;
        unescaper.push(byte, |found| {
            *place = follow(automaton, *place, found, widths, line_ends);
            seen |= automaton.ends(*place);
        });
        seen
    }

    /// Whether there is nothing left that the search would not see without it.
    fn agrees_with(&self, automaton: &Automaton, plain: Place) -> bool {
        let nothing_pending = self.unescaper.pending() == 0;
        nothing_pending && self.place == plain && self.width() == automaton.depth(plain)
    }

    fn back(&self, automaton: &Automaton) -> usize {
        let held = automaton.depth(self.place) > UNHELD;
        if held { self.width() + self.unescaper.pending() } else { 0 }
    }

    fn width(&self) -> usize {
        self.widths.iter().sum()
    }
}

/// Which bytes can be the first of any of these, or of an escape.
fn beginnings(watches: &[Arc<Watch>]) -> [bool; 256] {
    let mut beginnings = [false; 256];
    if !watches.is_empty() {
        for (byte, begins) in (0..=u8::MAX).zip(&mut beginnings) {
            let escape = matches!(byte, b'%' | b'\\' | b'&');
            *begins = escape || watches.iter().any(|watch| watch.automaton.begins_with(fold(byte)));
        }
    }
    beginnings
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
