//! Submissions, shortly.

use supervisor_api::{Language, SubmitRequest};

/// What attacks in Python start with.
pub(crate) const PREAMBLE: &str = include_str!("../tests/payloads/preamble.py");

/// A program and its arguments.
pub fn argv(words: &[&str]) -> SubmitRequest {
    let argv = words.iter().map(|&word| word.to_owned()).collect();
    SubmitRequest { argv, ..SubmitRequest::default() }
}

/// Python source.
pub fn python(source: &str) -> SubmitRequest {
    source_of(Language::Python, source.to_owned())
}

/// Python source that makes attempts with what the preamble defines.
pub fn attack(source: &str) -> SubmitRequest {
    source_of(Language::Python, format!("{PREAMBLE}\n{source}"))
}

/// Shell source.
pub fn bash(source: &str) -> SubmitRequest {
    source_of(Language::Bash, source.to_owned())
}

/// JavaScript source.
pub fn node(source: &str) -> SubmitRequest {
    source_of(Language::Node, source.to_owned())
}

fn source_of(language: Language, source: String) -> SubmitRequest {
    SubmitRequest { language: Some(language), source: Some(source), ..SubmitRequest::default() }
}
