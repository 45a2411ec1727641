//! What an upstream sends on a WebSocket, searched as its reader puts it together: without the heads of
//! the frames (RFC 6455 §5.2) and without the control frames that stand between, which are searched likewise. Where there are no frames
//! as a server sends them, it is searched as it stands.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{Seen, Watcher, Watches};

/// Bytes of a frame's head before its extended length, and with it.
const HEAD: usize = 2;

/// Bytes of a control frame are fewer; one that says otherwise is searched as a message.
const LONGEST_CONTROL: u64 = 126;

/// Bytes that may wait behind what could be the beginning of a secret, where its message doesn't go on: control
/// frames, and empty ones. At it the connection ends.
const MOST_BEHIND: usize = 64 * 1024;

/// Watches the frames of one connection.
pub struct Frames {
    watches: Watches,
    messages: Watcher,
    /// The payloads of control frames, one after the other.
    controls: Watcher,
    reading: Reading,
    /// What was read and not passed on yet, …
    raw: BytesMut,
    /// … and what it consists of.
    parts: VecDeque<Part>,
}

enum Reading {
    Head(Vec<u8>),
    Payload {
        left: u64,
        is_control: bool,
        read: usize,
    },
    /// No frames: one was masked, or had bits of an extension that nobody asked for.
    Anything,
}

/// So many bytes of …
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// … messages.
    Message(usize),
    /// … a control frame's payload.
    Control(usize),
    /// … what stands between them.
    Between(usize),
}

impl Frames {
    /// The frames of a connection that has just become a WebSocket. Without watches nothing is looked at.
    pub fn new(watches: Watches) -> Self {
        Self {
            messages: Watcher::new(watches.all().to_vec()),
            controls: Watcher::new(watches.all().to_vec()),
            watches,
            reading: Reading::Head(Vec::new()),
            raw: BytesMut::new(),
            parts: VecDeque::new(),
        }
    }

    /// Takes the next bytes and gives those that may pass, which may be none.
    ///
    /// # Errors
    /// A secret was seen. The connection must end here.
    pub fn pass(&mut self, chunk: Bytes) -> Result<Bytes, Seen> {
        if self.watches.is_empty() {
            return Ok(chunk);
        }
        if self.watches.renew() {
            self.messages.search_for(self.watches.all());
            self.controls.search_for(self.watches.all());
        }
        let mut rest: &[u8] = &chunk;
        while !rest.is_empty() {
            rest = self.read(rest)?;
        }
        self.raw.extend_from_slice(&chunk);
        let passed = self.release();
        match self.raw.len() <= self.messages.back() + MOST_BEHIND {
            true => Ok(passed),
            false => Err(Seen),
        }
    }

    /// The stream has ended: what was held back was no secret.
    pub fn finish(&mut self) -> Bytes {
        self.parts.clear();
        self.raw.split().freeze()
    }

    /// Reads a piece of a head or of a payload; what comes after it.
    fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Seen> {
        match &mut self.reading {
            Reading::Head(head) => {
                let Some((byte, rest)) = bytes.split_first() else { return Ok(bytes) };
                head.push(*byte);
                let begun = std::mem::take(head);
                match payload(&begun) {
                    Some(Reading::Anything) => {
                        self.messages.examine(&begun)?;
                        self.reading = Reading::Anything;
                    }
                    Some(next) => {
                        self.reading = next;
                        self.next_frame();
                    }
                    None => self.reading = Reading::Head(begun),
                }
                self.note(Part::Between(1));
                Ok(rest)
            }
            Reading::Anything => {
                self.messages.examine(bytes)?;
                self.note(Part::Message(bytes.len()));
                Ok(&[])
            }
            Reading::Payload { left, is_control, read } => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                let (own, rest) = bytes.split_at(count);
                *left -= count as u64;
                *read += count;
                // A control frame, which is short, passes when all of it has been searched.
                let (is_over, frame) = (*left == 0, *read);
                if *is_control {
                    self.controls.examine(own)?;
                    if is_over {
                        self.parts.push_back(Part::Control(frame));
                    }
                } else {
                    self.messages.examine(own)?;
                    self.note(Part::Message(count));
                }
                self.next_frame();
                Ok(rest)
            }
        }
    }

    /// After the last byte of a payload comes a head.
    fn next_frame(&mut self) {
        if matches!(self.reading, Reading::Payload { left: 0, .. }) {
            self.reading = Reading::Head(Vec::new());
        }
    }

    fn note(&mut self, part: Part) {
        match (self.parts.back_mut(), part) {
            (Some(Part::Message(last)), Part::Message(more))
            | (Some(Part::Between(last)), Part::Between(more)) => *last += more,
            _ => self.parts.push_back(part),
        }
    }

    /// All but what could be the beginning of a secret and what stands behind that.
    fn release(&mut self) -> Bytes {
        let begun = match self.reading {
            Reading::Payload { is_control: true, read, .. } => read,
            _ => 0,
        };
        let (mut messages, mut controls) = (0, begun);
        for part in &self.parts {
            match part {
                Part::Message(count) => messages += count,
                Part::Control(count) => controls += count,
                Part::Between(_) => {}
            }
        }
        let mut free = messages.saturating_sub(self.messages.back());
        let mut free_controls = controls.saturating_sub(self.controls.back());
        let mut passed = 0;
        while let Some(part) = self.parts.pop_front() {
            match part {
                Part::Between(count) => passed += count,
                Part::Control(count) if count <= free_controls => {
                    passed += count;
                    free_controls -= count;
                }
                Part::Message(count) if count <= free => {
                    passed += count;
                    free -= count;
                }
                Part::Control(_) => {
                    self.parts.push_front(part); // it goes out whole
                    break;
                }
                Part::Message(count) => {
                    passed += free;
                    self.parts.push_front(Part::Message(count - free));
                    break;
                }
            }
        }
        self.raw.split_to(passed).freeze()
    }
}

/// What follows a head; nothing while it is not whole.
fn payload(head: &[u8]) -> Option<Reading> {
    let [first, second, extended @ ..] = head else { return None };
    if first & 0x70 != 0 || second & 0x80 != 0 {
        return Some(Reading::Anything);
    }
    let short = second & 0x7f;
    let wanted = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if head.len() < HEAD + wanted {
        return None;
    }
    let long = extended.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let left = if wanted == 0 { u64::from(short) } else { long };
    let is_control = first & 0x08 != 0 && left < LONGEST_CONTROL;
    Some(Reading::Payload { left, is_control, read: 0 })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Watch;
    use super::*;

    const SECRET: &[u8] = b"sk-0123456789abcdef";
    const TEXT: u8 = 0x81;
    const CONTINUED: u8 = 0x80;
    const PING: u8 = 0x89;
    const PONG: u8 = 0x8a;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap();
        let mut bytes = vec![first];
        match u8::try_from(length) {
            Ok(short) if short < 126 => bytes.push(short),
            _ => {
                bytes.push(126);
                bytes.extend(length.to_be_bytes());
            }
        }
        bytes.extend_from_slice(payload);
        bytes
    }

    fn whole_word() -> Vec<u8> {
        [frame(TEXT, b"a word"), frame(PING, b"")].concat()
    }

    /// What passes of these bytes in pieces of this size, and how it ends.
    fn through(bytes: &[u8], size: usize) -> (Vec<u8>, Option<Seen>) {
        let mut frames = Frames::new(vec![Arc::new(Watch::new([SECRET]))].into());
        let mut passed = Vec::new();
        for piece in bytes.chunks(size) {
            match frames.pass(Bytes::copy_from_slice(piece)) {
                Ok(bytes) => passed.extend_from_slice(&bytes),
                Err(seen) => return (passed, Some(seen)),
            }
        }
        passed.extend_from_slice(&frames.finish());
        (passed, None)
    }

    #[test]
    fn a_secret_is_seen_however_it_is_put_into_frames() {
        let whole = frame(TEXT, &[b"you sent ", SECRET, b"!"].concat());
        let mut single: Vec<u8> = vec![];
        let mut disturbed: Vec<u8> = vec![];
        for (place, byte) in SECRET.iter().enumerate() {
            single.extend(frame(if place == 0 { 0x01 } else { CONTINUED }, &[*byte]));
            disturbed.extend([frame(TEXT, &[*byte]), frame(PING, b"x")].concat());
        }
        let long = frame(TEXT, &[&[b'x'; 300][..], SECRET].concat());
        let halves = [frame(PING, &SECRET[..9]), frame(PONG, &SECRET[9..])].concat();
        let apart = [frame(PING, &SECRET[..9]), whole_word(), frame(PONG, &SECRET[9..])].concat();
        let pings: Vec<u8> = SECRET.iter().flat_map(|byte| frame(PING, &[*byte])).collect();
        let ping = frame(PING, SECRET);
        for bytes in [whole, single, disturbed, long, ping, halves, apart, pings] {
            for size in [1, 2, 3, 7, 1000] {
                let (passed, seen) = through(&bytes, size);
                assert_eq!(seen, Some(Seen), "{bytes:?}");
                let told = passed.iter().filter(|byte| b"123456789abcdef".contains(byte)).count();
                assert!(told < 2, "{passed:?}");
            }
        }
    }

    #[test]
    fn ordinary_frames_pass_unchanged_and_at_once() {
        let bytes = [
            frame(TEXT, b"hello"),
            frame(PING, b""),
            frame(PING, b"\x01sk-"),
            frame(PONG, b"0 and \x02"),
            frame(0x02, &[0; 400]),
            frame(TEXT, b"sk-0123, and not what begins so"),
            frame(0x88, b"\x03\xe8"),
        ]
        .concat();
        for size in [1, 3, 64, 1000] {
            assert_eq!(through(&bytes, size), (bytes.clone(), None));
        }
        let mut frames = Frames::new(vec![Arc::new(Watch::new([SECRET]))].into());
        let hello = Bytes::from(frame(TEXT, b"hello"));
        assert_eq!(frames.pass(hello.clone()), Ok(hello));
        let ping = Bytes::from(frame(PING, b"\x01sk-"));
        assert_eq!(frames.pass(ping.clone()), Ok(ping), "or it has no answer");
    }

    #[test]
    fn what_waits_behind_half_a_secret_is_bounded() {
        let mut frames = Frames::new(vec![Arc::new(Watch::new([SECRET]))].into());
        frames.pass(frame(TEXT, b"sk-0123").into()).unwrap();
        let pings: Bytes = frame(PING, b"ping").repeat(1000).into();
        let passed = std::iter::from_fn(|| frames.pass(pings.clone()).ok());
        assert!((1..=MOST_BEHIND / pings.len()).contains(&passed.count()));
        assert!(frames.raw.len() <= MOST_BEHIND + 2 * pings.len());
        // Where a message has ended that is no beginning of it, nothing waits.
        let mut frames = Frames::new(vec![Arc::new(Watch::new([SECRET]))].into());
        for _ in 0..100 {
            assert_eq!(frames.pass(pings.clone()), Ok(pings.clone()));
        }
    }

    #[test]
    fn what_is_in_no_frames_is_searched_as_it_stands() {
        for head in [[0xc1, 0x05], [TEXT, 0x85], [b's', b'k']] {
            let plain = [&head[..], b"anything at all"].concat();
            let told = [&head[..], b"-0123456789abcdef ", SECRET].concat();
            for size in [1, 2, 1000] {
                assert_eq!(through(&plain, size), (plain.clone(), None));
                assert_eq!(through(&told, size).1, Some(Seen));
            }
        }
        let mut blind = Frames::new(Watches::default());
        assert_eq!(
            blind.pass(Bytes::from_static(b"\xc1\x85")),
            Ok(Bytes::from_static(b"\xc1\x85"))
        );
    }
}
