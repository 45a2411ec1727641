//! Text of strangers on the operator's terminal. A payload chooses its output, its file names and
//! its labels; written raw they could move the cursor, rewrite what was said before, or make the
//! terminal answer on the keyboard's behalf.

use std::borrow::Cow;

/// Bytes of the longest UTF-8 sequence, so the most that can be left over between two pieces.
const LONGEST_SEQUENCE: usize = 4;

/// Makes output harmless for a terminal, piece by piece: control characters other than newline and
/// tab become visible pictures, bytes that are not UTF-8 become U+FFFD.
#[derive(Debug, Default)]
pub struct Neutraliser {
    /// The start of a sequence whose end comes with the next piece.
    unfinished: Vec<u8>,
}

impl Neutraliser {
    /// The next piece of output, made harmless. A sequence cut in two is held back.
    pub fn piece(&mut self, bytes: &[u8]) -> String {
        let mut input = std::mem::take(&mut self.unfinished);
        input.extend_from_slice(bytes);
        let mut text = String::with_capacity(input.len());
        let mut chunks = input.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.extend(chunk.valid().chars().map(picture));
            let invalid = chunk.invalid();
            if chunks.peek().is_none() && is_unfinished(invalid) {
                self.unfinished = invalid.to_vec();
            } else if !invalid.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }

    /// What is left at the end of the output.
    pub fn end(&mut self) -> &'static str {
        if std::mem::take(&mut self.unfinished).is_empty() { "" } else { "\u{fffd}" }
    }
}

/// A name, label or reason on one line of ours: no control character, newlines and tabs included,
/// and nothing that turns the direction of writing.
pub fn name(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c.is_control() || turns_direction(c)) {
        return Cow::Borrowed(text);
    }
    let harmless = text.chars().map(|c| match c {
        '\n' => '\u{2424}',
        '\t' => '\u{2409}',
        c if turns_direction(c) => char::REPLACEMENT_CHARACTER,
        c => picture(c),
    });
    Cow::Owned(harmless.collect())
}

/// Words of several lines, such as a diagnostic: control characters become pictures.
pub fn words(text: &str) -> String {
    text.chars().map(|c| if turns_direction(c) { '\u{fffd}' } else { picture(c) }).collect()
}

/// The character itself, or what stands for it (Unicode block "Control Pictures").
fn picture(c: char) -> char {
    match c {
        '\n' | '\t' => c,
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\x7f' => '\u{2421}',
        '\u{80}'..='\u{9f}' => '\u{fffd}',
        c => c,
    }
}

/// Embeddings, overrides and isolates: with them a name can be shown as another one.
fn turns_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether more bytes could still make a character of it.
fn is_unfinished(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.len() < LONGEST_SEQUENCE
        && std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_escape_sequence_is_shown_and_not_obeyed() {
        let mut neutraliser = Neutraliser::default();
        assert_eq!(
            neutraliser.piece(b"\x1b[2Jhi\r\n\tx\x7f"),
            "\u{241b}[2Jhi\u{240d}\n\tx\u{2421}"
        );
    }

    #[test]
    fn a_one_byte_control_of_the_upper_half_is_not_obeyed_in_either_encoding() {
        let mut neutraliser = Neutraliser::default();
        assert_eq!(neutraliser.piece(b"\x9b2J\xc2\x9b2J"), "\u{fffd}2J\u{fffd}2J");
    }

    #[test]
    fn a_letter_cut_in_two_pieces_is_shown_whole() {
        let mut neutraliser = Neutraliser::default();
        assert_eq!(neutraliser.piece(b"\xe2\x82"), "");
        assert_eq!(neutraliser.piece(b"\xac"), "\u{20ac}");
        assert_eq!(neutraliser.end(), "");
        assert_eq!(neutraliser.piece(b"\xe2\x82"), "");
        assert_eq!(neutraliser.end(), "\u{fffd}");
    }

    #[test]
    fn a_name_stays_on_its_line_and_reads_in_one_direction() {
        assert_eq!(name("a\nb\x1b[0m\u{202e}gpj.exe"), "a\u{2424}b\u{241b}[0m\u{fffd}gpj.exe");
        assert!(matches!(name("plain.txt"), Cow::Borrowed("plain.txt")));
    }

    proptest! {
        #[test]
        fn no_bytes_bring_a_control_character_through(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..32), 0..8)
        ) {
            let mut neutraliser = Neutraliser::default();
            let mut text: String = pieces.iter().map(|piece| neutraliser.piece(piece)).collect();
            text.push_str(neutraliser.end());
            prop_assert!(text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
            let whole = String::from_utf8_lossy(&pieces.concat()).chars().map(picture).collect::<String>();
            prop_assert_eq!(text, whole);
        }

        #[test]
        fn no_name_brings_a_control_character_through(text in any::<String>()) {
            prop_assert!(name(&text).chars().all(|c| !c.is_control() && !turns_direction(c)));
        }
    }
}
