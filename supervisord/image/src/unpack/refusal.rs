//! Why an archive is refused, in words for people.

use std::fmt::{self, Display};
use std::io;

/// Why an archive is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(String);

impl Refusal {
    /// In these words.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }

    /// An operation that failed.
    pub fn of<E: Into<io::Error>>(doing: impl Display) -> impl FnOnce(E) -> Self {
        move |error| Self(format!("cannot {doing}: {}", error.into()))
    }

    /// The same, with the place it is about.
    pub fn within(self, place: impl Display) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bytes of an archive as text for people: on one line, whatever they are, and no longer than is read.
pub fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 200;
    let text = String::from_utf8_lossy(bytes);
    let mut shown: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}
