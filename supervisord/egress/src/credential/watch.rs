//! A watch over bytes that come back: does an upstream repeat a secret?
//!
//! Covered, in any letter case and across any division into chunks: the secret as it is; in UTF-16 of
//! either order; in hexadecimal, with nothing or a space, hyphen or colon between the bytes; in base64,
//! standard or URL-safe, alone or at any place within something larger that is encoded; and each of
//! these with any of its characters escaped as in URLs (`%2F`, `+` for a space), in JSON (`\/`,
//! `\u002f`) or in HTML (`&#47;`, `&amp;`), or broken into lines. Not covered: what an upstream makes of
//! the secret in any other way, such as a digest, a cipher, a compression, two escapes over each other,
//! hexadecimal with anything else in it (`0x73, 0x65`, the columns of a dump), or the characters in
//! another order.
//!
//! Bytes that could be the beginning of a secret are held back until it is clear that they are not,
//! so that nothing of it goes out beyond its first [`UNHELD`] characters. All else passes at once.

mod automaton;
mod body;
mod escape;
mod frames;
mod patterns;
mod watcher;
mod watches;

use std::sync::Arc;

use http::HeaderMap;

use automaton::Automaton;
pub use body::Watched;
pub use frames::Frames;
pub use watcher::{Seen, Watcher};
pub use watches::Watches;

/// Characters at the beginning of what could be a secret that are not held back. Without it, an
/// event stream would stall on every message that happens to end with a secret's first letter; keys
/// begin with a fixed mark of this length or more (`ghp_`, `sk-`, `eyJ`).
pub const UNHELD: usize = 3;

/// The patterns of some secrets, ready to be searched for. Built once for each value; searched by a
/// [`Watcher`] for each response.
pub struct Watch {
    automaton: Automaton,
    is_of_a_key: bool,
}

impl Watch {
    /// A watch for these secrets. One shorter than [`MIN_VALUE`](super::secret::MIN_VALUE) would be
    /// seen in anything; values that short are refused when they are read.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let automaton = Automaton::new(secrets.into_iter().flat_map(patterns::of));
        Self { automaton, is_of_a_key: false }
    }

    /// A watch for a key that signs, with which nothing else goes.
    pub fn of_a_key(secret: &[u8]) -> Self {
        Self { is_of_a_key: true, ..Self::new([secret]) }
    }

    /// Whether it is for nothing but a key that signs: no upstream was ever sent that.
    pub fn is_of_a_key(&self) -> bool {
        self.is_of_a_key
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch(..)")
    }
}

/// Whether a text of known end holds a secret.
pub fn seen_in(watches: &[Arc<Watch>], text: &[u8]) -> bool {
    !watches.is_empty() && Watcher::new(watches.to_vec()).examine(text).is_err()
}

/// Whether a name or a value among fields holds a secret.
pub fn seen_in_fields(watches: &[Arc<Watch>], fields: &HeaderMap) -> bool {
    if watches.is_empty() {
        return false;
    }
    let mut watcher = Watcher::new(watches.to_vec());
    let mut seen = |text: &[u8]| {
        watcher.restart();
        watcher.examine(text).is_err()
    };
    fields.iter().any(|(name, value)| seen(name.as_str().as_bytes()) || seen(value.as_bytes()))
}

/// The class of a byte: bytes that one encoding or another puts for each other are the same.
const fn fold(byte: u8) -> u8 {
    match byte {
        b'-' | b' ' => b'+', // base64url; form encoding
        b'_' => b'/',        // base64url
        other => other.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests;
