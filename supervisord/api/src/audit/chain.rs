//! How one record holds on to the one before, and what is signed.

use std::fmt;

use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Serializer;
use sha2::{Digest, Sha256};

use super::event::{AuditEvent, What};
use super::plain::Plain;

/// What comes before a checkpoint's hash in what is signed, so that no signature of ours means two
/// things.
const CHECKPOINT: &[u8] = b"supervisord audit checkpoint 1\n";

/// The same of a head.
const HEAD: &[u8] = b"supervisord audit head 1\n";

/// Bytes that most lines have room in.
const USUAL_LINE: usize = 1024;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// SHA-256 of something.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest32(pub [u8; 32]);

/// The end of a log as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// The number of the next record.
    pub next: u64,
    /// The hash of the last one.
    pub last: Digest32,
}

/// A record as the bytes of its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The line with its end.
    pub line: Vec<u8>,
    /// Its hash.
    pub hash: Digest32,
}

/// What a line says about itself, each part at its one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub seq: u64,
    pub time: &'a str,
    pub kind: &'a str,
    pub prev: Digest32,
    pub hash: Digest32,
    pub signature: Option<&'a str>,
    /// What the hash is over.
    pub body: &'a str,
}

/// Where a log ended at its last checkpoint, signed; kept beside it, so that a log which ends earlier
/// is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The checkpoint's number.
    pub seq: u64,
    /// Its hash.
    pub hash: Digest32,
    signature: [u8; 64],
}

/// A public key that signatures are checked with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// Text that is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadKey;

#[derive(Serialize)]
struct Unsealed<'a> {
    seq: u64,
    time: &'a str,
    #[serde(flatten)]
    event: &'a AuditEvent,
    prev: Digest32,
}

impl Digest32 {
    /// SHA-256 of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest with this one spelling: 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }
}

impl fmt::Display for Digest32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(digits_as_text(&digits(&self.0)))
    }
}

impl fmt::Debug for Digest32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest32 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(digits_as_text(&digits(&self.0)))
    }
}

impl<'de> Deserialize<'de> for Digest32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("no SHA-256 in 64 hexadecimal digits"))
    }
}

impl JsonSchema for Digest32 {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Digest32".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-9a-f]{64}$"})
    }
}

impl Default for Chain {
    /// A log without a record.
    fn default() -> Self {
        Self { next: 1, last: Digest32::default() }
    }
}

impl Chain {
    /// The next record's line. The chain goes on from it.
    ///
    /// # Errors
    /// An event that has no JSON form, which none of this crate's lacks.
    pub fn seal(&mut self, time: &str, event: &AuditEvent) -> Result<Sealed, serde_json::Error> {
        self.seal_with(time, event, |_| None)
    }

    /// The same for a checkpoint, with its signature.
    ///
    /// # Errors
    /// As [`Chain::seal`].
    pub fn seal_checkpoint(
        &mut self,
        time: &str,
        event: &AuditEvent,
        key: &Ed25519KeyPair,
    ) -> Result<Sealed, serde_json::Error> {
        debug_assert!(matches!(event.what, What::Checkpoint(_)));
        self.seal_with(time, event, |hash| Some(hex(&sign_checkpoint(key, hash))))
    }

    fn seal_with(
        &mut self,
        time: &str,
        event: &AuditEvent,
        signature: impl FnOnce(&Digest32) -> Option<String>,
    ) -> Result<Sealed, serde_json::Error> {
        let mut line = Vec::with_capacity(USUAL_LINE);
        let record = Unsealed { seq: self.next, time, event, prev: self.last };
        record.serialize(&mut Serializer::with_formatter(&mut line, Plain::default()))?;
        line.pop(); // the closing brace
        let hash = Digest32::of(&line);
        for part in [b",\"hash\":\"".as_slice(), &digits(&hash.0), b"\""] {
            line.extend_from_slice(part);
        }
        if let Some(signature) = signature(&hash) {
            line.extend_from_slice(format!(",\"signature\":\"{signature}\"").as_bytes());
        }
        line.extend_from_slice(b"}\n");
        *self = Self { next: self.next + 1, last: hash };
        Ok(Sealed { line, hash })
    }
}

/// A line that an earlier writer left, as far as the next writer needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed<'a> {
    /// When it was written.
    pub time: &'a str,
    /// Whether it is a checkpoint.
    pub is_checkpoint: bool,
}

impl Chain {
    /// A chain of which nothing is known: it follows the first whole line that it is given.
    pub const fn unknown() -> Self {
        Self { next: 0, last: Digest32([0; 32]) }
    }

    /// Goes on after a line, given without its end, that was sealed before. `None`, and no step, if it
    /// is not whole or not the next one.
    pub fn follow<'a>(&mut self, line: &'a [u8]) -> Option<Followed<'a>> {
        let parts = Parts::of(line).filter(Parts::is_whole)?;
        if self.next != 0 && (parts.seq != self.next || parts.prev != self.last) {
            return None;
        }
        *self = Self { next: parts.seq + 1, last: parts.hash };
        Some(Followed { time: parts.time, is_checkpoint: parts.signature.is_some() })
    }

    /// The number and the time of a line, without a look at whether it is whole; for searching.
    pub fn place(line: &[u8]) -> Option<(u64, &str)> {
        let text = std::str::from_utf8(line).ok()?;
        let (seq, rest) = text.strip_prefix("{\"seq\":")?.split_once(",\"time\":\"")?;
        Some((seq.parse().ok()?, rest.split_once('"')?.0))
    }
}

impl<'a> Parts<'a> {
    /// Takes a line apart, without its end. `None` if it is not to the letter what a sealed line is;
    /// whether its hash is right is not looked at.
    pub fn of(line: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?;
        let rest = text.strip_prefix("{\"seq\":")?;
        let (seq, rest) = rest.split_once(",\"time\":\"")?;
        let (time, rest) = rest.split_once("\",\"kind\":\"")?;
        let (kind, _) = rest.split_once('"')?;
        let (body, end) = text.rsplit_once(",\"hash\":\"")?;
        let end = end.strip_suffix("\"}")?;
        let (hash, signature) = match end.split_once("\",\"signature\":\"") {
            Some((hash, signature)) => (hash, Some(signature)),
            None => (end, None),
        };
        let (_, prev) = body.rsplit_once(",\"prev\":\"")?;
        let number = seq.parse::<u64>().ok().filter(|number| number.to_string() == seq)?;
        let prev = Digest32::parse(prev.strip_suffix('"')?)?;
        Some(Self { seq: number, time, kind, prev, hash: Digest32::parse(hash)?, signature, body })
    }

    /// Whether the line is as it was sealed.
    pub fn is_whole(&self) -> bool {
        Digest32::of(self.body.as_bytes()) == self.hash
    }
}

impl Head {
    /// Where this chain ends, signed.
    pub fn sign(chain: &Chain, key: &Ed25519KeyPair) -> Self {
        let (seq, hash) = (chain.next.saturating_sub(1), chain.last);
        Self { seq, hash, signature: sign_head(key, seq, &hash) }
    }

    /// The head in this text, which [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let digits = words.next()?;
        let (hash, signature) = (Digest32::parse(words.next()?)?, unhex(words.next()?)?);
        let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let seq = digits.parse().ok().filter(|_| plain && words.next().is_none())?;
        Some(Self { seq, hash, signature })
    }

    /// Whether one of these keys has signed it.
    pub fn is_signed(&self, keys: &[PublicKey]) -> bool {
        let message = head_message(self.seq, &self.hash);
        keys.iter().any(|key| key.has_signed(&message, &self.signature))
    }
}

impl fmt::Display for Head {
    /// One line, always of the same length, so that it can be overwritten in place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:020} {} {}", self.seq, self.hash, hex(&self.signature))
    }
}

impl PublicKey {
    /// The key of these 32 bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What checkpoints call it.
    pub fn short(&self) -> String {
        let mut text = Digest32::of(&self.0).to_string();
        text.truncate(16);
        text
    }

    /// Whether this is a checkpoint's signature.
    pub(super) fn has_signed_checkpoint(&self, hash: &Digest32, signature: &str) -> bool {
        let signature: Option<[u8; 64]> = unhex(signature);
        signature.is_some_and(|bytes| self.has_signed(&checkpoint_message(hash), &bytes))
    }

    /// Whether this is a signature of that message.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

impl std::str::FromStr for PublicKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        unhex(text).map(Self).ok_or(BadKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a public key is 64 lower-case hexadecimal digits")
    }
}

impl std::error::Error for BadKey {}

/// A checkpoint's signature.
pub fn sign_checkpoint(key: &Ed25519KeyPair, hash: &Digest32) -> [u8; 64] {
    signature_of(key, &checkpoint_message(hash))
}

/// A head's signature.
pub fn sign_head(key: &Ed25519KeyPair, seq: u64, hash: &Digest32) -> [u8; 64] {
    signature_of(key, &head_message(seq, hash))
}

/// The signature of a message that begins as no other kind of message does.
pub(crate) fn signature_of(key: &Ed25519KeyPair, message: &[u8]) -> [u8; 64] {
    let signature = key.sign(message);
    let mut bytes = [0; 64]; // every Ed25519 signature has so many (RFC 8032 §5.1.6)
    for (to, from) in bytes.iter_mut().zip(signature.as_ref()) {
        *to = *from;
    }
    bytes
}

fn checkpoint_message(hash: &Digest32) -> Vec<u8> {
    [CHECKPOINT, hash.0.as_slice()].concat()
}

fn head_message(seq: u64, hash: &Digest32) -> Vec<u8> {
    [HEAD, seq.to_be_bytes().as_slice(), hash.0.as_slice()].concat()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(DIGITS.get(usize::from(value)).copied().unwrap_or(b'0'));
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The same of a digest, for every record has two.
fn digits(digest: &[u8; 32]) -> [u8; 64] {
    let mut digits = [b'0'; 64];
    for (byte, pair) in digest.iter().zip(digits.as_chunks_mut::<2>().0) {
        *pair = [byte >> 4, byte & 15]
            .map(|value| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0'));
    }
    digits
}

fn digits_as_text(digits: &[u8; 64]) -> &str {
    std::str::from_utf8(digits).unwrap_or_default()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None, // upper case would be a second spelling
    };
    let mut bytes = [0; N];
    for (to, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *to = value(*high)? << 4 | value(*low)?;
    }
    Some(bytes)
}
