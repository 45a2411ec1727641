//! The protocol of Connect as E2B's clients speak it: JSON, without compression; streams are envelopes of one byte of
//! flags, four of length, and the message.

use hyper::body::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::answer::{Kind, Pieces, Refusal};

/// The media types of one message and of a stream of them.
pub const UNARY_TYPE: &str = "application/json";
/// The media type of a stream.
pub const STREAM_TYPE: &str = "application/connect+json";

/// The longest message.
pub const MESSAGE_MAX: usize = 4 << 20;

/// Flags of an envelope.
const COMPRESSED: u8 = 1;
const LAST: u8 = 2;

/// Bytes before a message.
const HEAD: usize = 5;

/// A message of a stream.
pub fn message(value: &impl Serialize) -> Result<Bytes, Refusal> {
    let bytes = serde_json::to_vec(value);
    let bytes = bytes.map_err(|error| Refusal::new(Kind::Internal, error.to_string()))?;
    Ok(envelope(0, &bytes).into())
}

/// The end of a stream, well or with a refusal.
pub fn last(refusal: Option<&Refusal>) -> Vec<u8> {
    let end = match refusal {
        None => json!({}),
        Some(refusal) => {
            json!({"error": {"code": refusal.kind.code(), "message": refusal.message}})
        }
    };
    envelope(LAST, end.to_string().as_bytes())
}

/// Sends a message; `false` when the client has gone.
pub async fn send(pieces: &Pieces, value: &impl Serialize) -> Result<bool, Refusal> {
    Ok(pieces.send(Ok(message(value)?)).await.is_ok())
}

/// Ends a stream. A client that has gone needs no end.
pub async fn end(pieces: &Pieces, ended: Result<(), Refusal>) {
    pieces.send(Ok(last(ended.err().as_ref()).into())).await.ok();
}

fn envelope(flags: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEAD + message.len());
    bytes.push(flags);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(message);
    bytes
}

/// Bytes on their way to becoming messages.
#[derive(Debug, Default)]
pub struct Messages {
    bytes: Vec<u8>,
}

impl Messages {
    /// Adds what has come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message, once it is whole.
    pub fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Refusal> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
        let [flags, length @ ..] = *head;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MESSAGE_MAX {
            let words = format!("a message has {MESSAGE_MAX} bytes at the most");
            return Err(Refusal::new(Kind::TooLarge, words));
        }
        let Some(message) = rest.get(..length) else { return Ok(None) };
        if flags & COMPRESSED != 0 {
            return Err(Refusal::unimplemented("messages are taken uncompressed only"));
        }
        let read = read(message);
        self.bytes.drain(..HEAD + length);
        read.map(Some)
    }
}

/// A message from its JSON.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes)
        .map_err(|error| Refusal::invalid(format!("the message is not what is expected: {error}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_is_too_long_or_compressed_is_refused_before_it_is_there() {
        let mut messages = Messages::default();
        messages.push(&[0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(messages.next::<Value>().expect_err("too long").kind, Kind::TooLarge);
        let mut messages = Messages::default();
        messages.push(&envelope(COMPRESSED, b"{}"));
        assert_eq!(messages.next::<Value>().expect_err("compressed").kind, Kind::Unimplemented);
    }

    proptest! {
        #[test]
        fn messages_come_whole_however_their_bytes_arrive(
            sent in proptest::collection::vec("[a-z]{0,40}", 0..20),
            size in 1usize..30,
        ) {
            let bytes: Vec<u8> = sent.iter().flat_map(|text| envelope(0, json!(text).to_string().as_bytes())).collect();
            let (mut messages, mut found) = (Messages::default(), Vec::new());
            for piece in bytes.chunks(size) {
                messages.push(piece);
                while let Some(text) = messages.next::<String>().expect("a message") {
                    found.push(text);
                }
            }
            prop_assert_eq!(found, sent);
        }
    }
}
