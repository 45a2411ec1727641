//! What is wrong with a policy file, shown as compilers do: file, line, column, the line itself with
//! a caret under the place, and what to do.
//!
//! Policy text can be hostile, and what is shown goes to terminals and logs. So everything shown is
//! cut to a bound and freed of characters that move the cursor or turn the direction of text.

use std::fmt;
use std::ops::Range;

/// Characters of a message, a hint or a file name that are shown.
const MAX_SHOWN: usize = 600;

/// Characters of a source line that are shown; a longer one is cut around the place.
const MAX_LINE: usize = 120;

/// Diagnostics kept from one load: enough to work on, and a bound on what hostile text can cause.
const MAX_DIAGNOSTICS: usize = 100;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    file: String,
    message: String,
    hint: Option<String>,
    warning: bool,
    excerpt: Option<Excerpt>,
}

/// A source line and the place on it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    line: usize,
    column: usize,
    text: String,
    caret: usize,
    width: usize,
}

/// Everything found wrong in one load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    cut_off: bool,
}

impl Diagnostic {
    /// Something about a file as a whole.
    pub(crate) fn whole(file: &str, message: impl AsRef<str>) -> Self {
        let (file, message) = (printable(file), printable(message.as_ref()));
        Self { file, message, hint: None, warning: false, excerpt: None }
    }

    /// Something about this span of bytes of a file's text.
    pub(crate) fn at(file: &str, text: &str, span: Range<usize>, message: impl AsRef<str>) -> Self {
        Self { excerpt: Some(Excerpt::of(text, span)), ..Self::whole(file, message) }
    }

    /// The same with what to do about it.
    pub(crate) fn with_hint(self, hint: impl AsRef<str>) -> Self {
        Self { hint: Some(printable(hint.as_ref())), ..self }
    }

    /// The same as a warning: nothing is wrong, and yet it is probably not meant.
    pub(crate) fn warning(self) -> Self {
        Self { warning: true, ..self }
    }

    /// Whether it only warns.
    pub fn is_warning(&self) -> bool {
        self.warning
    }

    /// The file's name as it was handed in.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line, counted from 1; `None` when it is about the file as a whole.
    pub fn line(&self) -> Option<usize> {
        self.excerpt.as_ref().map(|excerpt| excerpt.line)
    }

    /// The column in characters, counted from 1.
    pub fn column(&self) -> Option<usize> {
        self.excerpt.as_ref().map(|excerpt| excerpt.column)
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The source line, cut around the place where it is long.
    pub fn snippet(&self) -> Option<&str> {
        self.excerpt.as_ref().map(|excerpt| excerpt.text.as_str())
    }
}

impl Excerpt {
    fn of(text: &str, span: Range<usize>) -> Self {
        let start = floor_boundary(text, span.start);
        let before = text.get(..start).unwrap_or_default();
        let head = before.rsplit('\n').next().unwrap_or_default();
        let tail = text.get(start..).unwrap_or_default().split('\n').next().unwrap_or_default();
        let tail = tail.trim_end_matches('\r');
        // A span over several lines is marked to the end of its first.
        let end = floor_boundary(tail, span.end.saturating_sub(start));
        let marked = tail.get(..end).unwrap_or_default().chars().count();

        let offset = head.chars().count();
        let cut = offset.saturating_sub(MAX_LINE / 2);
        let mark = if cut > 0 { "…" } else { "" };
        let shown = head.chars().chain(tail.chars()).skip(cut).take(MAX_LINE).map(visible);
        let text: String = mark.chars().chain(shown).collect();
        let caret = offset - cut + mark.chars().count();
        let width = marked.min(text.chars().count().saturating_sub(caret)).max(1);
        Self { line: before.matches('\n').count() + 1, column: offset + 1, text, caret, width }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.warning { "warning" } else { "error" };
        write!(f, "{kind}: {}", self.message)?;
        let Some(Excerpt { line, column, text, caret, width }) = &self.excerpt else {
            write!(f, "\n --> {}", self.file)?;
            return match &self.hint {
                Some(hint) => write!(f, "\n  = help: {hint}"),
                None => Ok(()),
            };
        };
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        let (indent, carets) = (" ".repeat(*caret), "^".repeat(*width));
        write!(f, "\n{gutter}--> {}:{line}:{column}\n{gutter} |", self.file)?;
        write!(f, "\n{number} | {text}\n{gutter} | {indent}{carets}")?;
        match &self.hint {
            Some(hint) => write!(f, "\n{gutter} = help: {hint}"),
            None => Ok(()),
        }
    }
}

impl Diagnostics {
    /// Whether a list is long enough, so that what comes after isn't worth the work.
    pub(crate) fn enough(list: &[Diagnostic]) -> bool {
        list.len() > MAX_DIAGNOSTICS
    }

    /// Each of them, in the order of files and lines.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }
}

impl From<Vec<Diagnostic>> for Diagnostics {
    /// Leaves repetitions out: a parent's error would else show once for each of its children.
    fn from(found: Vec<Diagnostic>) -> Self {
        let mut diagnostics = Self { list: Vec::new(), cut_off: false };
        for diagnostic in found {
            if diagnostics.list.contains(&diagnostic) {
                continue;
            }
            if diagnostics.list.len() < MAX_DIAGNOSTICS {
                diagnostics.list.push(diagnostic);
            } else {
                diagnostics.cut_off = true;
                break;
            }
        }
        diagnostics
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.list.iter().enumerate() {
            write!(f, "{}{diagnostic}", if index == 0 { "" } else { "\n\n" })?;
        }
        if self.cut_off { f.write_str("\n\nand more; correct these first") } else { Ok(()) }
    }
}

impl std::error::Error for Diagnostics {}

/// The text for a terminal or a log line: one line, no control or direction characters, bounded.
pub(crate) fn printable(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN).map(visible).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// Whether a character could hide text, reorder it or steer a terminal.
pub(crate) fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{61c}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

fn visible(character: char) -> char {
    match character {
        '\t' => ' ',
        deceptive if is_deceptive(deceptive) => char::REPLACEMENT_CHARACTER,
        other => other,
    }
}

/// The nearest character boundary at or below an index.
fn floor_boundary(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_points_at_its_place() {
        let text = "name = \"x\"\n[limits]\nmemroy_max = \"1 GiB\"\n";
        let shown = Diagnostic::at("x.toml", text, 20..30, "unknown key `memroy_max`")
            .with_hint("did you mean `memory_max`?")
            .to_string();
        let expected = "\
error: unknown key `memroy_max`
 --> x.toml:3:1
  |
3 | memroy_max = \"1 GiB\"
  | ^^^^^^^^^^
  = help: did you mean `memory_max`?";
        assert_eq!(shown, expected);
    }

    #[test]
    fn columns_count_characters_and_a_tab_is_one() {
        let text = "\té = 1\r\nb";
        let diagnostic = Diagnostic::at("x", text, 1..3, "m");
        assert_eq!((diagnostic.line(), diagnostic.column()), (Some(1), Some(2)));
        assert!(diagnostic.to_string().ends_with("1 |  é = 1\n  |  ^"), "{diagnostic}");
    }

    #[test]
    fn a_place_at_the_end_or_outside_is_shown_at_the_end() {
        for span in [3..3, 3..9, 9..12] {
            let diagnostic = Diagnostic::at("x", "a =", span, "m");
            assert!(diagnostic.to_string().ends_with("1 | a =\n  |    ^"), "{diagnostic}");
        }
        assert!(Diagnostic::at("x", "", 0..0, "m").to_string().ends_with("1 | \n  | ^"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}here{}", "a".repeat(10_000), "b".repeat(10_000));
        let shown = Diagnostic::at("x", &text, 10_000..10_004, "m").to_string();
        assert!(shown.len() < 500, "{shown}");
        let place = shown.lines().find_map(|line| line.find("here")).unwrap();
        assert_eq!(shown.lines().last().unwrap().find('^'), Some(place - '…'.len_utf8() + 1));
    }

    #[test]
    fn hostile_text_cannot_steer_the_terminal() {
        let text = "a\u{1b}[2K\u{202e}b\u{9b}";
        let diagnostic = Diagnostic::at("f\u{7}\n", text, 0..1, text).with_hint(text);
        let shown = diagnostic.to_string();
        assert!(shown.chars().all(|c| c == '\n' || !is_deceptive(c)), "{shown:?}");
        assert_eq!(shown.lines().count(), 6);
    }

    #[test]
    fn a_flood_of_errors_is_cut_off_and_says_so() {
        let list: Vec<_> =
            (0..500).map(|n| Diagnostic::whole("x", format!("{}", n % 250))).collect();
        let diagnostics = Diagnostics::from(list);
        assert_eq!(diagnostics.iter().count(), MAX_DIAGNOSTICS);
        assert!(diagnostics.to_string().ends_with("correct these first"));
    }
}
