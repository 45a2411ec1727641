//! What a payload sends on a WebSocket, looked through as its reader puts it together: without the heads
//! of the frames and unmasked (RFC 6455 §5.2, §5.3). Where there are no frames as a client sends them, it
//! is looked through as it stands.

use std::sync::Arc;

use super::super::placeholder::Search;
use super::super::refusal::CredentialRefusal;
use super::super::watch::Watcher;
use super::Unwelcome;

/// Bytes of a frame's head without extended length and key.
const HEAD: usize = 2;

/// Bytes of the key that masks a payload.
const KEY: usize = 4;

/// Bytes that are unmasked at once.
const PIECE: usize = 512;

/// Looks through one connection. Nothing is held back, as in a body.
pub struct OutboundFrames {
    unwelcome: Arc<Unwelcome>,
    messages: Looked,
    /// A control frame, which may stand within a message, is a text of its own.
    controls: Looked,
    reading: Reading,
}

/// How far a text has been looked through.
struct Looked {
    canaries: Watcher,
    placeholders: Search,
}

enum Reading {
    Head(Vec<u8>),
    Payload {
        left: u64,
        is_control: bool,
        /// The key, turned so that its first byte is the next one's.
        key: [u8; KEY],
    },
    /// No frames: one was not masked, or had bits of an extension.
    Anything,
}

impl OutboundFrames {
    pub(in crate::credential) fn new(unwelcome: Arc<Unwelcome>) -> Self {
        let looked = || Looked {
            canaries: Watcher::new(unwelcome.canaries.clone()),
            placeholders: Search::default(),
        };
        let (messages, controls) = (looked(), looked());
        Self { unwelcome, messages, controls, reading: Reading::Head(Vec::new()) }
    }

    /// Looks at the next bytes.
    ///
    /// # Errors
    /// There is something in them that must not leave. The connection must end here.
    pub fn look(&mut self, bytes: &[u8]) -> Result<(), CredentialRefusal> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.read(rest)?;
        }
        Ok(())
    }

    /// Reads a piece of a head or of a payload; what comes after it.
    fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], CredentialRefusal> {
        match &mut self.reading {
            Reading::Anything => {
                self.messages.look(&self.unwelcome, bytes)?;
                Ok(&[])
            }
            Reading::Head(head) => {
                let Some((byte, rest)) = bytes.split_first() else { return Ok(bytes) };
                head.push(*byte);
                if let Some(next) = payload(head) {
                    if matches!(next, Reading::Anything) {
                        self.messages.look(&self.unwelcome, head)?;
                    }
                    self.reading = next;
                    self.next_frame();
                }
                Ok(rest)
            }
            Reading::Payload { left, is_control, key } => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(PIECE);
                let (own, rest) = bytes.split_at(most.min(bytes.len()));
                let mut plain = [0; PIECE];
                let masked = own.iter().zip(key.iter().cycle());
                for (plain, (byte, key)) in plain.iter_mut().zip(masked) {
                    *plain = byte ^ key;
                }
                key.rotate_left(own.len() % KEY);
                *left -= own.len() as u64;
                let text = if *is_control { &mut self.controls } else { &mut self.messages };
                text.look(&self.unwelcome, plain.get(..own.len()).unwrap_or_default())?;
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
}

impl Looked {
    fn look(&mut self, unwelcome: &Unwelcome, bytes: &[u8]) -> Result<(), CredentialRefusal> {
        unwelcome.look_further(bytes, &mut self.canaries, &mut self.placeholders)
    }
}

/// What follows a head; nothing while it is not whole.
fn payload(head: &[u8]) -> Option<Reading> {
    let [first, second, extended @ ..] = head else { return None };
    if first & 0x70 != 0 || second & 0x80 == 0 {
        return Some(Reading::Anything);
    }
    let short = second & 0x7f;
    let wanted = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if head.len() < HEAD + wanted + KEY {
        return None;
    }
    let (length, key) = extended.split_at_checked(wanted)?;
    let long = length.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let left = if wanted == 0 { u64::from(short) } else { long };
    Some(Reading::Payload { left, is_control: first & 0x08 != 0, key: key.try_into().ok()? })
}

#[cfg(test)]
mod tests {
    use super::super::super::refusal::RefusalCode;
    use super::super::super::watch::Watch;
    use super::*;

    const CANARY: &[u8] = b"sk-canary-0123456789abcdef";
    const PLACEHOLDER: &[u8] = b"svph_abcdefghijklmnopqrstuvwxyz234567";

    fn frame(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
        let mut bytes = vec![first];
        match u8::try_from(payload.len()) {
            Ok(short) if short < 126 => bytes.push(0x80 | short),
            _ => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
            }
        }
        bytes.extend(key);
        bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }

    fn looked(bytes: &[u8], size: usize) -> Option<RefusalCode> {
        let canaries = vec![Arc::new(Watch::new([CANARY]))];
        let unwelcome = Unwelcome { canaries, welcome: Vec::new() };
        let mut frames = OutboundFrames::new(Arc::new(unwelcome));
        bytes.chunks(size).find_map(|piece| frames.look(piece).err()).map(|refusal| refusal.code)
    }

    #[test]
    fn what_must_not_leave_is_seen_however_it_is_masked_and_framed() {
        for (word, code) in
            [(CANARY, RefusalCode::Canary), (PLACEHOLDER, RefusalCode::PlaceholderMisplaced)]
        {
            let key = [7, 0x80, 0, 0xff];
            let whole = frame(0x81, &[b"take ", word, b"!"].concat(), key);
            let long = frame(0x82, &[&[b'x'; 700][..], word].concat(), key);
            let ping = [frame(0x01, b"half", key), frame(0x89, word, [1, 2, 3, 4])].concat();
            let mut single = Vec::new();
            for (place, byte) in word.iter().enumerate() {
                let first = if place == 0 { 0x01 } else { 0x00 };
                let key = [u8::try_from(place).unwrap(), 3, 1, 4];
                single.extend([frame(first, &[*byte], key), frame(0x89, b"x", key)].concat());
            }
            for bytes in [whole, long, ping, single, word.to_vec()] {
                for size in [1, 2, 3, 7, 1000] {
                    assert_eq!(looked(&bytes, size), Some(code), "{size}: {bytes:?}");
                }
            }
        }
    }

    #[test]
    fn ordinary_frames_pass() {
        let bytes = [
            frame(0x81, b"hello sk-canary-0123 svph_short", [9, 8, 7, 6]),
            frame(0x89, b"", [0; 4]),
            frame(0x82, &[0; 4000], [1, 1, 1, 1]),
            frame(0x88, b"\x03\xe8", [5; 4]),
        ]
        .concat();
        for size in [1, 5, 1000] {
            assert_eq!(looked(&bytes, size), None);
        }
    }
}
