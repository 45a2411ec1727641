//! JSON of which no string is longer than a bound and no character moves a cursor: RFC 8259 has only the first
//! 32 escaped, and a terminal or a viewer obeys others as well, which a payload could have put into a name.

use std::io::{self, Write};

use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

/// Bytes of one string of a record, before they are escaped: as many as the longest request target has, so
/// that decisions can be made again from what was recorded.
pub const MAX_STRING: usize = 16 << 10;

/// What stands at the end of a string that was cut.
const CUT: &str = "\u{2026}";

/// Cuts long strings, and escapes every control character and those that change the direction of text
/// or end a line.
#[derive(Default)]
pub(super) struct Plain {
    /// Bytes of the present string.
    written: usize,
}

impl Plain {
    /// How many bytes more are written of the present string.
    fn rest(&self) -> usize {
        MAX_STRING.saturating_sub(self.written)
    }
}

impl Formatter for Plain {
    fn begin_string<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.written = 0;
        CompactFormatter.begin_string(writer)
    }

    fn end_string<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.written > MAX_STRING {
            writer.write_all(CUT.as_bytes())?;
        }
        CompactFormatter.end_string(writer)
    }

    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        let fits = self.rest() > 0;
        self.written += 1;
        if fits { CompactFormatter.write_char_escape(writer, escape) } else { Ok(()) }
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let end = fragment.floor_char_boundary(self.rest());
        self.written += fragment.len();
        let mut rest = fragment.get(..end).unwrap_or_default();
        // Nearly all of them, and looked through many at a time.
        if rest.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return writer.write_all(rest.as_bytes());
        }
        while let Some(at) = rest.find(is_obeyed) {
            let (before, from) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut characters = from.chars();
            if let Some(obeyed) = characters.next() {
                write!(writer, "\\u{:04x}", u32::from(obeyed))?; // all of them have four digits
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::Serializer;

    use super::*;

    fn json(text: &str) -> String {
        let mut bytes = Vec::new();
        text.serialize(&mut Serializer::with_formatter(&mut bytes, Plain::default())).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_text_reads_back_as_it_was_up_to_the_bound_and_without_a_control_character() {
        let all: String = (0..0x3000).filter_map(char::from_u32).collect();
        let long = "\u{e9}\"".repeat(MAX_STRING);
        for text in ["", "plain", "a\u{9b}2Jb\u{202e}c\u{7f}\n\"", &all, &long] {
            let written = json(text);
            assert!(!written.chars().any(is_obeyed));
            let read: String = serde_json::from_str(&written).unwrap();
            match read.strip_suffix(CUT) {
                Some(cut) => assert!(text.starts_with(cut) && cut.len() + 4 > MAX_STRING),
                None => assert_eq!(read, text),
            }
        }
    }
}
