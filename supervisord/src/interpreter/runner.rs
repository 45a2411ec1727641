//! The programs that take cells inside a sandbox, one for each language, and what is said to them. They are
//! handed over on the channel ([`supervisor_launch::CHANNEL`]) by a program of a few lines that is the payload's
//! argument, so that nothing of ours lies in the workspace. The words are told at the top of
//! `python.py`; besides cells, Python's runner takes `prepare` and `main`, by which a process that was
//! started ahead becomes a program.

use serde_json::{Value, json};
use supervisor_api::Language;

/// A language's program.
#[derive(Debug, Clone, Copy)]
pub struct Runner {
    /// What reads it from the channel, with its arguments.
    words: &'static [&'static str],
    /// Its text.
    text: &'static str,
}

/// Python's.
pub const PYTHON: Runner = Runner {
    words: &["python3", "-u", "-c", include_str!("python.boot.py")],
    text: concat!(
        include_str!("python.py"),
        include_str!("python.results.py"),
        include_str!("python.cells.py")
    ),
};

/// Node's.
pub const NODE: Runner =
    Runner { words: &["node", "-e", include_str!("node.boot.js")], text: include_str!("node.js") };

/// Bash's.
pub const BASH: Runner =
    Runner { words: &["bash", "-c", include_str!("bash.boot.sh")], text: include_str!("bash.sh") };

impl Runner {
    /// That of a language.
    pub const fn of(language: Language) -> Self {
        match language {
            Language::Python => PYTHON,
            Language::Node => NODE,
            Language::Bash => BASH,
        }
    }

    /// The payload's program and its arguments.
    pub fn argv(&self) -> Vec<String> {
        self.words.iter().map(|&word| word.to_owned()).collect()
    }

    /// What is to be written to the channel before anything else: the text's length in a line, and the text.
    /// It fits into an empty socket, so it can be written before the payload has started.
    pub fn opening(&self) -> Vec<u8> {
        [format!("{}\n", self.text.len()).as_bytes(), self.text.as_bytes()].concat()
    }
}

/// Run this cell.
pub fn cell(language: Language, number: u64, source: &str) -> Vec<u8> {
    match language {
        Language::Bash => {
            let word = quoted(source);
            line(&format!("cell {number} {} {word}", word.len()))
        }
        _ => word(&json!({"do": "cell", "number": number, "source": source})),
    }
}

/// Interrupt this cell.
pub fn interrupt(language: Language, number: u64) -> Vec<u8> {
    match language {
        Language::Bash => line(&format!("interrupt {number}")),
        _ => word(&json!({"do": "interrupt", "number": number})),
    }
}

/// Say how far you are. The empty line before it ends one that a daemon before us could not finish.
pub fn resume(language: Language, nonce: &str) -> Vec<u8> {
    let question = match language {
        Language::Bash => line(&format!("resume {nonce}")),
        _ => word(&json!({"do": "resume", "nonce": nonce})),
    };
    [b"\n".as_slice(), &question].concat()
}

fn word(word: &Value) -> Vec<u8> {
    line(&word.to_string()) // which has no end of a line in it
}

fn line(text: &str) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}

/// A text as a word of bash that means exactly it, and is one line (bash(1), QUOTING, `$'...'`).
fn quoted(text: &str) -> String {
    let mut word = String::with_capacity(text.len() + 3);
    word.push_str("$'");
    for each in text.chars() {
        match each {
            '\\' => word.push_str("\\\\"),
            '\'' => word.push_str("\\'"),
            '\n' => word.push_str("\\n"),
            '\r' => word.push_str("\\r"),
            other => word.push(other),
        }
    }
    word.push('\'');
    word
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_runner_fits_into_an_empty_socket_and_its_beginning_into_an_argument() {
        for runner in [PYTHON, NODE, BASH] {
            assert!(runner.opening().len() < 64 << 10, "half of what a socket holds as it is made");
            assert!(runner.argv().iter().all(|word| word.len() < 4096));
        }
    }

    #[test]
    fn every_text_is_one_line_and_means_itself_to_bash() {
        for text in ["echo 'a' \"b\" \\n $HOME `x` !! \t\r\n\x01 é\u{1F600}", "", "\\", "'"] {
            let quoted = quoted(text);
            assert!(!quoted.contains('\n'));
            let script = format!("printf %s {quoted}");
            let said = Command::new("bash").args(["-c", &script]).output().expect("bash runs");
            assert_eq!(String::from_utf8_lossy(&said.stdout), text);
        }
    }
}
