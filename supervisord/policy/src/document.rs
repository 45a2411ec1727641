//! A policy file's text and the places in it, so that every value can say where it comes from.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

use crate::diagnostic::{Diagnostic, printable};

/// A file: its name as handed in, its text, and whose it is in messages ("policy default").
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Document {
    pub holder: String,
    pub file: String,
    pub text: String,
    /// Where each line begins.
    lines: Vec<usize>,
}

/// Where a value was given.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    document: Arc<Document>,
    span: Range<usize>,
    given: bool,
}

/// A checked value and where it was given.
#[derive(Debug, Clone)]
pub(crate) struct Sourced<T> {
    pub value: T,
    pub origin: Origin,
}

impl Document {
    pub fn new(holder: String, file: String, text: String) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        Self { holder, file, text, lines }
    }

    /// What is wrong at this span.
    pub fn diagnostic(&self, span: Range<usize>, message: impl AsRef<str>) -> Diagnostic {
        Diagnostic::at(&self.file, &self.text, span, message)
    }

    /// The origin of what stands at this span.
    pub fn origin(self: &Arc<Self>, span: Range<usize>) -> Origin {
        Origin { document: Arc::clone(self), span, given: true }
    }

    /// A checked value, at the place of its raw one.
    pub fn sourced<T, R>(self: &Arc<Self>, raw: &Spanned<R>, value: T) -> Sourced<T> {
        Sourced { value, origin: self.origin(raw.span()) }
    }
}

impl<T: Clone> Sourced<T> {
    /// The same value for something that was left out and follows from this.
    pub fn implied(&self) -> Self {
        Self { value: self.value.clone(), origin: self.origin.implied() }
    }
}

impl Origin {
    /// The origin of a value that was not given and follows from what stands here.
    pub fn implied(&self) -> Self {
        Self { given: false, ..self.clone() }
    }

    /// Whether the value itself stands here.
    pub fn is_given(&self) -> bool {
        self.given
    }

    /// Whether it is in this file.
    pub fn is_in(&self, document: &Arc<Document>) -> bool {
        Arc::ptr_eq(&self.document, document)
    }

    /// Whose file it is, such as "policy default" or "the floor".
    pub fn holder(&self) -> &str {
        &self.document.holder
    }

    /// What is wrong here.
    pub fn diagnostic(&self, message: impl AsRef<str>) -> Diagnostic {
        self.document.diagnostic(self.span.clone(), message)
    }

    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        self.document.lines.partition_point(|begin| *begin <= self.span.start)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", printable(&self.document.file), self.line())
    }
}
