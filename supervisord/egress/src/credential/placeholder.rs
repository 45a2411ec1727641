//! Placeholders: what a payload has in its environment instead of a secret.
//!
//! A placeholder is `svph_` and 32 letters and digits: 160 bits of HMAC-SHA-256 over session and
//! credential under a key that only the daemon has. It can't be guessed, is worth nothing outside its
//! session, needs no table, and stays the same when the secret behind it is rotated.

use std::fmt;

use ring::hmac;
use zeroize::Zeroizing;

use super::name::CredentialName;

/// What every placeholder begins with.
pub const MARK: &[u8] = b"svph_";

/// Symbols after the mark: 160 bits at 5 bits each.
const SYMBOLS: usize = 32;

/// RFC 4648 §6, in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The key that placeholders are derived from. The same after a restart, because payloads live on.
pub struct PlaceholderKey(hmac::Key);

/// A placeholder, complete with its mark.
#[derive(Clone, PartialEq, Eq)]
pub struct Placeholder([u8; MARK.len() + SYMBOLS]);

/// Looks for placeholders of any kind in a stream.
#[derive(Debug, Default)]
pub struct Search {
    read: Vec<u8>,
}

impl PlaceholderKey {
    /// The key of these 32 bytes, which come from the kernel's random source.
    pub fn new(bytes: &Zeroizing<[u8; 32]>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &**bytes))
    }

    /// The placeholder of a credential in a session.
    pub fn placeholder(&self, session: &str, credential: &CredentialName) -> Placeholder {
        let mut mac = hmac::Context::with_key(&self.0);
        mac.update(session.as_bytes());
        mac.update(&[0]); // neither has a NUL
        mac.update(credential.as_str().as_bytes());
        let tag = mac.sign();
        let mut text = [0; MARK.len() + SYMBOLS];
        let (mark, symbols) = text.split_at_mut(MARK.len());
        mark.copy_from_slice(MARK);
        for (five, eight) in tag.as_ref().chunks_exact(5).zip(symbols.chunks_exact_mut(8)) {
            let bits = five.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
            for (symbol, shift) in eight.iter_mut().zip((0..8).rev().map(|index| 5 * index)) {
                let index = (bits >> shift & 31) as usize;
                *symbol = ALPHABET.get(index).copied().unwrap_or(b'a');
            }
        }
        Placeholder(text)
    }
}

impl Placeholder {
    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for PlaceholderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlaceholderKey(..)")
    }
}

impl Search {
    /// Takes the next bytes; gives the first placeholder that ends in them and is not among those that
    /// are welcome.
    pub fn find(&mut self, bytes: &[u8], welcome: &[Placeholder]) -> Option<Placeholder> {
        let mut rest = bytes;
        loop {
            if self.read.is_empty() {
                let start = rest.iter().position(|byte| Some(byte) == MARK.first())?;
                rest = rest.get(start..).unwrap_or_default();
            }
            let (byte, after) = rest.split_first()?;
            rest = after;
            if let Some(found) = self.push(*byte).filter(|found| !welcome.contains(found)) {
                return Some(found);
            }
        }
    }

    fn push(&mut self, byte: u8) -> Option<Placeholder> {
        let fits = match MARK.get(self.read.len()) {
            Some(mark) => *mark == byte,
            None => ALPHABET.contains(&byte),
        };
        if fits {
            self.read.push(byte);
            let found = <[u8; MARK.len() + SYMBOLS]>::try_from(self.read.as_slice()).ok()?;
            self.read.clear();
            return Some(Placeholder(found));
        }
        // Look again at what has been read, from its second byte on. The mark's first letter is not in
        // the rest of it, but may be among the symbols.
        let within_mark = self.read.len() < MARK.len();
        self.read.push(byte);
        let again = match within_mark {
            true => (MARK.first() == Some(&byte)).then(|| self.read.len() - 1),
            false => (1..self.read.len())
                .find(|start| may_begin(self.read.get(*start..).unwrap_or_default())),
        };
        self.read.drain(..again.unwrap_or(self.read.len()));
        None
    }
}

/// Whether these bytes can be the beginning of a placeholder.
fn may_begin(bytes: &[u8]) -> bool {
    let mark = bytes.get(..MARK.len().min(bytes.len())).unwrap_or_default();
    MARK.starts_with(mark) && bytes.iter().skip(MARK.len()).all(|byte| ALPHABET.contains(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> PlaceholderKey {
        PlaceholderKey::new(&Zeroizing::new([7; 32]))
    }

    fn placeholder(session: &str, credential: &str) -> Placeholder {
        key().placeholder(session, &credential.parse().expect("a name"))
    }

    #[test]
    fn a_placeholder_belongs_to_one_session_and_one_credential() {
        let mine = placeholder("se-a", "forge");
        assert_eq!(mine, placeholder("se-a", "forge"));
        assert_eq!(mine.to_string().len(), 37);
        for other in [
            placeholder("se-b", "forge"),
            placeholder("se-a", "forg"),
            placeholder("se-af", "orge"),
        ] {
            assert_ne!(mine, other);
        }
        let other_key = PlaceholderKey::new(&Zeroizing::new([8; 32]));
        assert_ne!(mine, other_key.placeholder("se-a", &"forge".parse().expect("a name")));
    }

    proptest! {
        #[test]
        fn a_placeholder_is_found_wherever_it_stands_and_however_it_is_cut(
            before in "[sv_ph2a]{0,40}", after in "[svph_ ]{0,10}", cuts in prop::collection::vec(1usize..9, 1..60)
        ) {
            let mine = placeholder("se-a", "forge");
            let text = format!("{before}{mine}{after}");
            let mut search = Search::default();
            let (mut rest, mut found) = (text.as_bytes(), None);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                found = found.or(search.find(now, &[]));
                rest = later;
            }
            // Unless what stands before makes another one of it.
            let naive = text.as_bytes().windows(37).find(|window| may_begin(window));
            prop_assert_eq!(found.as_ref().map(Placeholder::as_bytes), naive);
        }
    }

    #[test]
    fn a_welcome_placeholder_does_not_hide_the_next() {
        let (mine, other) = (placeholder("se-a", "forge"), placeholder("se-b", "forge"));
        let text = format!("{mine}{mine} {other}");
        let found = Search::default().find(text.as_bytes(), std::slice::from_ref(&mine));
        assert_eq!(found, Some(other));
        assert_eq!(Search::default().find(mine.as_bytes(), std::slice::from_ref(&mine)), None);
    }
}
