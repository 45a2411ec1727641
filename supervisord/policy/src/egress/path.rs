//! Paths of requests: one canonical form, and patterns that are matched against that form only.
//!
//! Dot segments are removed as RFC 3986 §5.2.4 says and escapes of unreserved characters are decoded
//! (§6.2.2.2). What programs are known to read in two ways is no path at all: an encoded slash, an
//! encoded dot segment, an escape of an escape, a backslash, a parameter, an empty segment.

use std::borrow::Cow;
use std::fmt;

/// Bytes of a target, path and query together. Servers take 8 KiB to 16 KiB.
const MAX_TARGET: usize = 16 << 10;

/// Segments of a path that is compared. Real ones have a dozen; each is compared with each pattern.
const MAX_DEPTH: usize = 256;

/// Segments of a pattern: more than a person compares by eye.
const MAX_SEGMENTS: usize = 32;

/// Why a target can't be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidTarget {
    /// It doesn't begin with a slash.
    NoSlash,
    /// It is over 16 KiB.
    TooLong,
    /// It has a character that URLs don't have, or a fragment.
    Character,
    /// A percent sign isn't followed by two hexadecimal digits.
    Escape,
    /// A slash, backslash, semicolon, percent sign of an escape or control character is escaped.
    EscapedDelimiter,
    /// A dot segment is escaped.
    EscapedDots,
    /// Escaped bytes are not UTF-8.
    NotUtf8,
    /// It has a backslash.
    Backslash,
    /// It has a semicolon, which some servers cut segments at.
    Parameter,
    /// It has an empty segment.
    EmptySegment,
    /// It has over 256 segments.
    TooDeep,
}

/// A pattern of canonical paths. `*` is one segment or a part of one, `**` any number of segments; at the end
/// of a pattern it is one at least, which may be empty, unless the pattern holds back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: Box<str>,
    segments: Vec<Segment>,
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// These characters.
    Literal(Box<str>),
    /// Text with `*` in it, for one segment that isn't empty.
    Glob(Box<str>),
    /// Any one segment, the empty last one too.
    One,
    /// Any number of segments, none included.
    Deep,
    /// Nothing, or the empty segment behind a last slash. It is the last one.
    End,
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InvalidPattern {
    /// It could never match, because no canonical path is spelt so.
    Target(InvalidTarget),
    /// The canonical form is another one.
    NotCanonical(String),
    /// `**` is a part of a segment, or there are too many segments.
    Stars,
}

/// Checks the characters of a target (`/path?query`) and splits it at the query.
pub(crate) fn split(target: &str) -> Result<(&str, Option<&str>), InvalidTarget> {
    if target.len() > MAX_TARGET {
        return Err(InvalidTarget::TooLong);
    }
    if !target.starts_with('/') {
        return Err(InvalidTarget::NoSlash);
    }
    if !target.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b'#') {
        return Err(InvalidTarget::Character);
    }
    Ok(match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    })
}

/// The canonical form of a path.
///
/// # Errors
/// When there is a program that could read it as another path.
pub fn canonical_path(path: &str) -> Result<Cow<'_, str>, InvalidTarget> {
    if split(path)?.1.is_some() {
        return Err(InvalidTarget::Character);
    }
    if path.bytes().filter(|byte| *byte == b'/').count() > MAX_DEPTH {
        return Err(InvalidTarget::TooDeep);
    }
    let plain = |byte: u8| !matches!(byte, b'%' | b'\\' | b';');
    if path.bytes().all(plain) && !path.contains("/.") && !path.contains("//") {
        return Ok(Cow::Borrowed(path));
    }
    let mut kept: Vec<Cow<'_, str>> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(raw) = segments.next() {
        let last = segments.peek().is_none();
        if raw.is_empty() && !last {
            return Err(InvalidTarget::EmptySegment);
        }
        match raw {
            "." if last => kept.push(Cow::Borrowed("")),
            "." => {}
            ".." => {
                kept.pop();
                if last {
                    kept.push(Cow::Borrowed(""));
                }
            }
            other => kept.push(canonical_segment(other)?),
        }
    }
    Ok(Cow::Owned(kept.iter().flat_map(|segment| ["/", segment]).collect()))
}

fn canonical_segment(raw: &str) -> Result<Cow<'_, str>, InvalidTarget> {
    if raw.contains('\\') {
        return Err(InvalidTarget::Backslash);
    }
    if raw.contains(';') {
        return Err(InvalidTarget::Parameter);
    }
    if !raw.contains('%') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut rest = raw.as_bytes();
    let (mut text, mut decoded) = (String::with_capacity(raw.len()), Vec::with_capacity(raw.len()));
    while let [byte, tail @ ..] = rest {
        if *byte != b'%' {
            text.push(char::from(*byte));
            decoded.push(*byte);
            rest = tail;
            continue;
        }
        let [high, low, after @ ..] = tail else { return Err(InvalidTarget::Escape) };
        let (Some(high), Some(low)) = (hexadecimal(*high), hexadecimal(*low)) else {
            return Err(InvalidTarget::Escape);
        };
        let value = high << 4 | low;
        if is_delimiter(value) {
            return Err(InvalidTarget::EscapedDelimiter);
        }
        decoded.push(value);
        if is_unreserved(value) {
            text.push(char::from(value));
        } else {
            text.push_str(&format!("%{value:02X}"));
        }
        rest = after;
    }
    // Decoding twice would make something else of it, whichever of its characters were escaped.
    if decoded.windows(3).any(is_escape) {
        return Err(InvalidTarget::EscapedDelimiter);
    }
    // Dot segments were seen to before where they stand unescaped. Some programs end a path at such
    // characters once they have decoded it, or take spaces off.
    let before = decoded.split(|byte| matches!(byte, b'#' | b'?' | b' ')).next();
    if matches!(before, Some(b"." | b"..")) {
        return Err(InvalidTarget::EscapedDots);
    }
    if std::str::from_utf8(&decoded).is_err() {
        return Err(InvalidTarget::NotUtf8);
    }
    Ok(Cow::Owned(text))
}

fn hexadecimal(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether some program would cut a path at this byte once it has decoded it.
fn is_delimiter(byte: u8) -> bool {
    byte.is_ascii_control() || matches!(byte, b'/' | b'\\' | b';')
}

fn is_escape(text: &[u8]) -> bool {
    matches!(text, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

impl PathPattern {
    /// Reads a pattern such as `/v1/**` or `/repos/*/issues`.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let canonical = canonical_path(text).map_err(InvalidPattern::Target)?;
        if canonical != text {
            return Err(InvalidPattern::NotCanonical(canonical.into_owned()));
        }
        let mut segments: Vec<Segment> = Vec::new();
        for segment in text.split('/').skip(1) {
            segments.push(match segment {
                "**" => Segment::Deep,
                deep if deep.contains("**") => return Err(InvalidPattern::Stars),
                glob if glob.contains('*') => Segment::Glob(glob.into()),
                literal => Segment::Literal(literal.into()),
            });
        }
        // What stands below a directory has at least the slash after it.
        if segments.last() == Some(&Segment::Deep) {
            segments.insert(segments.len() - 1, Segment::One);
        }
        if segments.len() > MAX_SEGMENTS {
            return Err(InvalidPattern::Stars);
        }
        Ok(Self { text: text.into(), segments })
    }

    /// The pattern as a rule means it that denies or asks: `/admin/**` is `/admin` too, and `/admin` is `/admin/`,
    /// which most servers take for the same. Who keeps others from a directory means the directory; what allows
    /// says all that it opens.
    #[must_use]
    pub(crate) fn holding_back(mut self) -> Self {
        let below = [Segment::One, Segment::Deep];
        if let Some(directory) = self.segments.strip_suffix(&below)
            && directory.iter().any(|segment| *segment != Segment::Deep)
        {
            self.segments.remove(directory.len());
        }
        let is_spelt = |segment: &Segment| match segment {
            Segment::Literal(text) => !text.is_empty(),
            Segment::Glob(_) => true,
            Segment::One | Segment::Deep | Segment::End => false,
        };
        if self.segments.last().is_some_and(is_spelt) {
            self.segments.push(Segment::End);
        }
        self
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a canonical path is one of those that the pattern means.
    pub fn matches(&self, canonical: &str) -> bool {
        let Some(path) = canonical.strip_prefix('/') else { return false };
        let path: Vec<&str> = path.split('/').collect();
        self.matches_segments(&path)
    }

    /// As [`PathPattern::matches`], for a path that is split already.
    pub(crate) fn matches_segments(&self, path: &[&str]) -> bool {
        matches_segments(&self.segments, path)
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether every path is meant.
    pub(crate) fn is_everything(&self) -> bool {
        matches!(self.segments.as_slice(), [Segment::One, Segment::Deep])
    }

    /// Whether every path of another pattern surely is one of this. It may miss some; it is right
    /// where it says yes.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let head = match self.segments.split_last() {
            Some((Segment::Deep, head)) => head,
            // With a last slash or without.
            Some((Segment::End, head)) => {
                return other.segments == head
                    || other.segments == self.segments
                    || matches!(other.segments.split_last(), Some((Segment::Literal(last), before))
                        if last.is_empty() && before == head);
            }
            _ => return self.segments == other.segments,
        };
        // A directory and what is below it.
        let Some((Segment::One, head)) = head.split_last() else {
            return other.segments.starts_with(head);
        };
        // Below a directory: the same directory, and at least a slash after it.
        other.segments.len() > head.len()
            && other.segments.starts_with(head)
            && !matches!(other.segments.get(head.len()), Some(Segment::Deep | Segment::End))
            || self.segments == other.segments
    }

    /// The segments that every match begins with, `most` of them at the most: literal ones, and `None`
    /// for `*`.
    pub(crate) fn beginning(&self, most: usize) -> impl Iterator<Item = Option<&str>> {
        self.segments.iter().take(most).map_while(|segment| match segment {
            Segment::Literal(text) => Some(Some(&**text)),
            Segment::Glob(glob) if &**glob == "*" => Some(None),
            _ => None,
        })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Matching with one place to go back to: a later `**` makes an earlier one's choice final.
fn matches_segments(pattern: &[Segment], path: &[&str]) -> bool {
    let (mut wanted, mut given) = (pattern, path);
    let mut back: Option<(&[Segment], &[&str])> = None;
    loop {
        match (wanted, given) {
            ([] | [Segment::End], []) => return true,
            ([Segment::Deep, after @ ..], _) => {
                back = Some((after, given));
                wanted = after;
                continue;
            }
            ([first, after @ ..], [segment, rest @ ..]) if first.takes(segment) => {
                (wanted, given) = (after, rest);
                continue;
            }
            _ => {}
        }
        let Some((after, [_, rest @ ..])) = back else { return false };
        back = Some((after, rest));
        (wanted, given) = (after, rest);
    }
}

impl Segment {
    /// Whether one segment of a path is meant.
    pub(super) fn takes(&self, segment: &str) -> bool {
        match self {
            Segment::Literal(text) => &**text == segment,
            Segment::Glob(glob) => {
                !segment.is_empty() && matches_glob(glob.as_bytes(), segment.as_bytes())
            }
            Segment::One => true,
            Segment::End => segment.is_empty(),
            Segment::Deep => false,
        }
    }
}

/// As [`matches_segments`], for characters and `*`.
fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut wanted, mut given) = (pattern, text);
    let mut back: Option<(&[u8], &[u8])> = None;
    loop {
        match (wanted, given) {
            ([], []) => return true,
            ([b'*', after @ ..], _) => {
                back = Some((after, given));
                wanted = after;
                continue;
            }
            ([first, after @ ..], [byte, rest @ ..]) if first == byte => {
                (wanted, given) = (after, rest);
                continue;
            }
            _ => {}
        }
        let Some((after, [_, rest @ ..])) = back else { return false };
        back = Some((after, rest));
        (wanted, given) = (after, rest);
    }
}

impl InvalidTarget {
    /// How to write it instead.
    pub const fn hint(self) -> &'static str {
        match self {
            InvalidTarget::NoSlash => "write a path from the first slash on, such as /v1/items",
            InvalidTarget::TooLong => "a target has 16 KiB at the most",
            InvalidTarget::Character => "write other characters as UTF-8 in percent escapes",
            InvalidTarget::Escape => "an escape is a percent sign and two hexadecimal digits",
            InvalidTarget::EscapedDelimiter
            | InvalidTarget::EscapedDots
            | InvalidTarget::NotUtf8 => {
                "programs read such escapes in different ways; leave it out"
            }
            InvalidTarget::Backslash => "write a slash",
            InvalidTarget::Parameter => "leave out the semicolon and what belongs to it",
            InvalidTarget::TooDeep => "a path has 256 segments at the most",
            InvalidTarget::EmptySegment => "write one slash between two segments",
        }
    }
}

impl fmt::Display for InvalidTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidTarget::NoSlash => "the target does not begin with a slash",
            InvalidTarget::TooLong => "the target is over 16 KiB",
            InvalidTarget::Character => "the target has a character that URLs don't have",
            InvalidTarget::Escape => "the path has a percent sign that begins no escape",
            InvalidTarget::EscapedDelimiter => {
                "the path has an escaped slash, backslash, semicolon, escape or control character"
            }
            InvalidTarget::EscapedDots => "the path has an escaped dot segment",
            InvalidTarget::NotUtf8 => "the path has escaped bytes that are not UTF-8",
            InvalidTarget::Backslash => "the path has a backslash",
            InvalidTarget::Parameter => "the path has a semicolon",
            InvalidTarget::TooDeep => "the path has over 256 segments",
            InvalidTarget::EmptySegment => "the path has an empty segment",
        })
    }
}

impl std::error::Error for InvalidTarget {}

#[cfg(test)]
mod tests;
