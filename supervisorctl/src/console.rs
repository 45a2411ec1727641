//! What we say ourselves: results on standard output, notices on standard error. Styles are taken
//! out where there is no terminal or the operator wants none (NO_COLOR).

use std::io::{self, Write};

use clap::builder::styling::AnsiColor;
use serde::Serialize;

use crate::failure::Failure;
use crate::terminal;

/// Prints a result for people; it ends with its own newline.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::writing)
}

/// Prints bytes that are no text of ours, such as a script, unchanged.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Failure::writing)
}

/// Prints a notice for people on standard error; it ends with its own newline.
pub fn notice(text: &str) {
    // A notice that nobody can read is no reason to stop what it is about.
    anstream::stderr().lock().write_all(text.as_bytes()).ok();
}

/// Says what went wrong, with the chain of causes and what to do about it.
pub fn failure(failure: &Failure) {
    let style = AnsiColor::Red.on_default().bold();
    let chain = terminal::words(&failure.chain());
    notice(&format!("{style}supervisorctl:{style:#} {chain}\n"));
    if let Some(remedy) = failure.remedy() {
        notice(&format!("  {remedy}\n"));
    }
}

/// Prints one JSON value on one line.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::Local {
        doing: "cannot write the result as JSON".to_owned(),
        source: error.into(),
    })?;
    print_bytes(format!("{}\n", escaped(&text)).as_bytes())
}

/// JSON may hold DEL and the C1 controls as they are, and some terminals obey those. They stand in
/// strings only, where an escape means the same.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\x7f'..='\u{9f}' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_holds_no_control_character_and_means_the_same() {
        let value = "a\u{9b}2J\x7f\x1b[0m\n\u{e9}";
        let text = escaped(&serde_json::to_string(value).expect("a string"));
        assert!(text.chars().all(|c| !c.is_control()), "{text}");
        assert_eq!(serde_json::from_str::<String>(&text).expect("JSON"), value);
    }
}
