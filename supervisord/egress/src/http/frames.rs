//! Frames of HTTP/2 as they pass (RFC 9113 §4.1), followed by their heads alone. A peer may send any number
//! of those that carry nothing: each costs it nine bytes and us an answer or a look, so they are counted
//! against what the connection does for its session, and a connection that is all PING, SETTINGS or empty
//! DATA ends.

use std::time::Instant;

use super::violation::Violation;
use crate::limits::{EMPTY_FRAMES, EMPTY_FRAMES_A_SECOND, EMPTY_FRAMES_FOR_ONE};

const HEAD: usize = 9;
/// With what a GOAWAY says besides: the last stream, and why.
const HEAD_OF_GOAWAY: usize = HEAD + 8;
/// What a client says before its first frame (RFC 9113 §3.4).
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
/// ENHANCE_YOUR_CALM, the error of a connection that asks for too much (RFC 9113 §7).
const CALM: u32 = 11;

/// Which side of a connection the peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// It asks: it says the preface.
    Client,
    /// It answers.
    Server,
}

/// Both directions of one connection.
#[derive(Debug)]
pub struct Frames {
    arriving: Follower,
    leaving: Follower,
    /// Frames of the peer that carried nothing.
    empty: u64,
    peer: Peer,
    /// Frames of either that were a request, an answer, or a part of a body.
    full: u64,
    since: Instant,
}

/// Where in one direction's bytes the heads of frames are.
#[derive(Debug)]
struct Follower {
    /// Bytes before the next head.
    skip: usize,
    head: [u8; HEAD_OF_GOAWAY],
    known: usize,
}

/// One frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    kind: u8,
    flags: u8,
    length: usize,
    /// What a GOAWAY says is wrong; 0 is nothing.
    error: u32,
}

impl Frames {
    /// At the start of a connection with this peer.
    pub fn new(peer: Peer) -> Self {
        let (arriving, leaving) = match peer {
            Peer::Client => (PREFACE, 0),
            Peer::Server => (0, PREFACE),
        };
        let (arriving, leaving) = (Follower::new(arriving), Follower::new(leaving));
        Self { arriving, leaving, empty: 0, peer, full: 0, since: Instant::now() }
    }

    /// Bytes of the peer's.
    ///
    /// # Errors
    ///
    /// [`Violation::Flood`] when it has sent too many frames that carry nothing.
    pub fn arrive(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let (empty, full, peer) = (&mut self.empty, &mut self.full, self.peer);
        self.arriving.follow(bytes, |frame| match frame {
            // Interim responses look like answers, and only the request was worth something.
            Frame { kind: HEADERS, .. } if peer == Peer::Server => *empty += 1,
            frame if frame.carries_something() => *full += 1,
            _ => *empty += 1,
        });
        let free = EMPTY_FRAMES + self.full.saturating_mul(EMPTY_FRAMES_FOR_ONE);
        // The clock is asked only where it can make a difference.
        if self.empty <= free {
            return Ok(());
        }
        let since = self.since.elapsed().as_secs().saturating_mul(EMPTY_FRAMES_A_SECOND);
        if self.empty <= free.saturating_add(since) { Ok(()) } else { Err(Violation::Flood) }
    }

    /// Bytes of ours; what is wrong with the peer, if they say so.
    pub fn leave(&mut self, bytes: &[u8]) -> Option<Violation> {
        let (full, mut wrong) = (&mut self.full, None);
        self.leaving.follow(bytes, |frame| match frame {
            Frame { kind: GOAWAY, error: CALM, .. } => wrong = Some(Violation::Flood),
            Frame { kind: GOAWAY, error: 1.., .. } => wrong = Some(Violation::Frames),
            frame if frame.carries_something() => *full += 1,
            _ => {}
        });
        wrong
    }

    /// Whether a frame of our own may be added behind what has left.
    pub fn has_left_whole(&self) -> bool {
        self.leaving.skip == 0 && self.leaving.known == 0
    }
}

/// The last frame to a peer that is refused, with the code of its refusal.
pub fn goaway(code: &str) -> Vec<u8> {
    let length = u32::try_from(8 + code.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = Vec::with_capacity(HEAD_OF_GOAWAY + code.len());
    frame.extend_from_slice(length.get(1..).unwrap_or_default());
    frame.extend_from_slice(&[GOAWAY, 0, 0, 0, 0, 0]);
    // Any stream may have been looked at, so none is said to be safe to ask for again.
    frame.extend_from_slice(&0x7fff_ffff_u32.to_be_bytes());
    frame.extend_from_slice(&CALM.to_be_bytes());
    frame.extend_from_slice(code.as_bytes());
    frame
}

impl Follower {
    const fn new(skip: usize) -> Self {
        Self { skip, head: [0; HEAD_OF_GOAWAY], known: 0 }
    }

    fn follow(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.skip > 0 {
                let (_, behind) = bytes.split_at(self.skip.min(bytes.len()));
                self.skip -= bytes.len() - behind.len();
                bytes = behind;
                continue;
            }
            if let Some(place) = self.head.get_mut(self.known) {
                *place = *first;
            }
            self.known += 1;
            bytes = rest;
            if let Some(frame) = self.whole() {
                self.skip = (HEAD + frame.length).saturating_sub(self.known);
                self.known = 0;
                each(frame);
            }
        }
    }

    fn whole(&self) -> Option<Frame> {
        let [high, middle, low, kind, flags, _, _, _, _, _, _, _, _, error @ ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let tells = kind == GOAWAY && length >= HEAD_OF_GOAWAY - HEAD;
        let wanted = if tells { HEAD_OF_GOAWAY } else { HEAD };
        let error = if tells { u32::from_be_bytes(error) } else { 0 };
        (self.known >= HEAD && self.known >= wanted).then_some(Frame { kind, flags, length, error })
    }
}

impl Frame {
    /// A CONTINUATION is no more than the HEADERS before it were.
    const fn carries_something(self) -> bool {
        match self.kind {
            HEADERS => true,
            DATA => self.length > 0 || self.flags & END_STREAM != 0,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn of_client(frames: &[Vec<u8>]) -> Vec<u8> {
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frames.concat()].concat()
    }

    #[test]
    fn a_connection_that_only_pings_is_refused_and_one_that_works_may_ping_as_well() {
        let ping = frame(PING, 0, b"12345678");
        let mut frames = Frames::new(Peer::Client);
        let all = of_client(&vec![ping.clone(); usize::try_from(EMPTY_FRAMES).unwrap()]);
        assert_eq!(frames.arrive(&all), Ok(()));
        assert_eq!(frames.arrive(&ping.repeat(200)), Err(Violation::Flood));

        let mut frames = Frames::new(Peer::Client);
        assert_eq!(frames.arrive(&of_client(&[])), Ok(()));
        for _ in 0..20_000 {
            assert_eq!(frames.arrive(&frame(HEADERS, 5, b"abc")), Ok(()));
            assert_eq!(frames.arrive(&ping.repeat(3)), Ok(()));
            assert_eq!(frames.leave(&frame(DATA, 0, b"answer")), None);
        }
    }

    #[test]
    fn empty_data_carries_nothing_unless_it_ends_a_body() {
        let mut frames = Frames::new(Peer::Server);
        assert_eq!(frames.arrive(&frame(DATA, END_STREAM, b"").repeat(3000)), Ok(()));
        assert!(frames.arrive(&frame(DATA, 0, b"").repeat(60_000)).is_err());
    }

    #[test]
    fn answers_are_worth_something_by_their_requests_alone() {
        let mut frames = Frames::new(Peer::Server);
        assert_eq!(frames.leave(&of_client(&[])), None);
        for _ in 0..5000 {
            assert_eq!(frames.leave(&frame(HEADERS, 5, b"request")), None);
            assert_eq!(frames.arrive(&frame(HEADERS, 4, b"103").repeat(2)), Ok(()));
            assert_eq!(frames.arrive(&frame(HEADERS, 5, b"200")), Ok(()));
        }
        let mut frames = Frames::new(Peer::Server);
        assert_eq!(frames.leave(&of_client(&[frame(HEADERS, 5, b"request")])), None);
        assert_eq!(frames.arrive(&frame(HEADERS, 4, b"103").repeat(3000)), Err(Violation::Flood));
    }

    #[test]
    fn our_own_goaway_tells_what_was_wrong() {
        let mut frames = Frames::new(Peer::Client);
        assert_eq!(frames.leave(&goaway("too_many_frames")), Some(Violation::Flood));
        assert!(frames.has_left_whole());
        let wrong = frame(GOAWAY, 0, &[0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(frames.leave(&wrong), Some(Violation::Frames));
        let (front, back) = wrong.split_at(12);
        assert_eq!(frames.leave(front), None);
        assert!(!frames.has_left_whole());
        assert_eq!(frames.leave(back), Some(Violation::Frames));
        assert_eq!(frames.leave(&frame(GOAWAY, 0, &[0; 8])), None, "nothing is wrong");
    }

    proptest! {
        #[test]
        fn frames_are_counted_alike_however_they_are_cut(
            kinds in prop::collection::vec((0u8..12, 0u8..2, 0usize..40), 0..30),
            sizes in prop::collection::vec(1usize..20, 1..20),
        ) {
            let all: Vec<_> =
                kinds.iter().map(|(kind, flags, length)| frame(*kind, *flags, &vec![7; *length])).collect();
            let bytes = of_client(&all);
            let (mut whole, mut cut) = (Frames::new(Peer::Client), Frames::new(Peer::Client));
            prop_assert_eq!(whole.arrive(&bytes), Ok(()));
            let (mut rest, mut sizes) = (&bytes[..], sizes.into_iter().cycle());
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(sizes.next().unwrap().min(rest.len()));
                prop_assert_eq!(cut.arrive(piece), Ok(()));
                rest = behind;
            }
            prop_assert_eq!((cut.empty, cut.full), (whole.empty, whole.full));
            prop_assert_eq!(u64::try_from(all.len()).unwrap(), whole.empty + whole.full);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut frames = Frames::new(Peer::Server);
            prop_assert!(frames.arrive(&bytes).is_ok());
            frames.leave(&bytes);
        }
    }
}
