//! Takes back the escapes of URLs, JSON and HTML in a stream, byte by byte.

/// Bytes that an escape takes at the most: `&#x00002f;`. A longer one is no escape.
const LONGEST: usize = 10;

/// A byte of the text, and how many bytes it took in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unescaped {
    /// The byte.
    pub byte: u8,
    /// How many it took.
    pub width: usize,
}

/// Whose escapes are taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `%2F`.
    Url,
    /// `\/`, `\u002f`.
    Json,
    /// `&#47;`, `&amp;`.
    Html,
    /// None: line ends are all that is passed over.
    Lines,
}

/// Reads escapes.
#[derive(Debug)]
pub struct Unescaper {
    kind: Kind,
    pending: [u8; LONGEST],
    length: usize,
}

/// What a beginning turns out to be.
enum Progress {
    /// There is more to come.
    More,
    /// It stands for a byte.
    Byte(u8),
    /// It is no escape.
    Plain,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Url, Self::Json, Self::Html, Self::Lines];

    /// Whether a text can differ from what it stands for from this byte on.
    pub fn begins_with(self, byte: u8) -> bool {
        match self {
            Self::Url => byte == b'%',
            Self::Json => byte == b'\\',
            Self::Html => byte == b'&',
            Self::Lines => matches!(byte, b'\r' | b'\n'),
        }
    }
}

impl Unescaper {
    /// Takes back escapes of this kind.
    pub fn new(kind: Kind) -> Self {
        Self { kind, pending: [0; LONGEST], length: 0 }
    }

    /// What kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many bytes of an escape have been read that has not ended.
    pub fn pending(&self) -> usize {
        self.length
    }

    /// Reads one byte and says what is known of the text by it, in order.
    pub fn push(&mut self, byte: u8, mut say: impl FnMut(Unescaped)) {
        let begins = self.kind != Kind::Lines && self.kind.begins_with(byte);
        if self.length == 0 && !begins {
            return say(Unescaped { byte, width: 1 });
        }
        // Another escape begins, unless it is the backslash that a backslash stands before.
        if self.length > 0 && begins && self.kind != Kind::Json {
            self.give_up(&mut say);
        }
        if let Some(free) = self.pending.get_mut(self.length) {
            *free = byte;
            self.length += 1;
        }
        match progress(self.pending.get(..self.length).unwrap_or_default()) {
            Progress::More if self.length < LONGEST => {}
            Progress::Byte(byte) => {
                say(Unescaped { byte, width: self.length });
                self.clear();
            }
            Progress::More | Progress::Plain => self.give_up(&mut say),
        }
    }

    /// What has been read was no escape.
    fn give_up(&mut self, say: &mut impl FnMut(Unescaped)) {
        for byte in self.pending.iter().take(self.length) {
            say(Unescaped { byte: *byte, width: 1 });
        }
        self.clear();
    }

    fn clear(&mut self) {
        self.length = 0;
    }
}

fn progress(escape: &[u8]) -> Progress {
    match escape {
        [b'%'] | [b'\\'] | [b'&'] => Progress::More,
        [b'%', digits @ ..] => number(digits, 16, 2),
        [b'\\', b'u' | b'U', digits @ ..] => number(digits, 16, 4),
        [b'\\', b'x' | b'X', digits @ ..] => number(digits, 16, 2),
        [b'\\', b'n' | b'r'] => Progress::Byte(b'\n'), // a line end
        [b'\\', byte] if byte.is_ascii_punctuation() => Progress::Byte(*byte),
        [b'&', rest @ ..] => entity(rest),
        _ => Progress::Plain,
    }
}

/// A number of so many digits, all of which must be there.
fn number(digits: &[u8], radix: u32, count: usize) -> Progress {
    if !digits.iter().all(|digit| char::from(*digit).is_digit(radix)) {
        return Progress::Plain;
    }
    if digits.len() < count { Progress::More } else { value(digits, radix) }
}

fn value(digits: &[u8], radix: u32) -> Progress {
    let text = std::str::from_utf8(digits).unwrap_or_default();
    match u8::from_str_radix(text, radix) {
        Ok(byte) => Progress::Byte(byte),
        Err(_) => Progress::Plain, // beyond US-ASCII and Latin-1, so no part of a secret
    }
}

/// A character reference of HTML, after its ampersand.
fn entity(rest: &[u8]) -> Progress {
    let Some((b';', name)) = rest.split_last() else {
        let fits = rest.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'#');
        return if fits { Progress::More } else { Progress::Plain };
    };
    match name {
        [b'#', b'x' | b'X', digits @ ..] => value(digits, 16),
        [b'#', digits @ ..] => value(digits, 10),
        b"amp" => Progress::Byte(b'&'),
        b"lt" => Progress::Byte(b'<'),
        b"gt" => Progress::Byte(b'>'),
        b"quot" => Progress::Byte(b'"'),
        b"apos" => Progress::Byte(b'\''),
        b"sol" => Progress::Byte(b'/'),
        b"plus" => Progress::Byte(b'+'),
        b"equals" => Progress::Byte(b'='),
        _ => Progress::Plain,
    }
}
