//! What comes out of a channel, cut into lines and read as words.

use serde::Deserialize;
use supervisor_api::{CellError, CellResult};

use crate::values::values;

/// Bytes of a line at the most: the 2 MiB of a cell's results, the 512 KiB of its error and what stands around them.
/// A sandbox costs us no more than this.
pub const MAX_LINE: usize = 3 << 20;

/// Lines of a traceback at the most; ours have 200.
const MAX_TRACEBACK: usize = 1000;

/// Results of a cell at the most, and what they look like, each counted: ours have no more. In memory each takes
/// far more than the few bytes that it can be in a line.
pub const MAX_RESULTS: usize = 1000;

/// Values of a line at the most: a result has two braces and two commas, each of its looks and each line of a traceback
/// one more, and the cell's own are few. What says which word it is may come last, so all of them are made first.
const MAX_VALUES: usize = 4 * MAX_RESULTS + MAX_RESULTS + MAX_TRACEBACK + 100;

/// It is no word of an interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken(pub &'static str);

/// Bytes that have come, and the lines that they make.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// How many of them hold no end of a line.
    looked: usize,
}

impl Lines {
    /// Adds what has come.
    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next whole line out, without its end.
    ///
    /// # Errors
    /// When it is longer than [`MAX_LINE`], whether or not its end has come.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        let unseen = self.bytes.get(self.looked..).unwrap_or_default();
        let end = unseen.iter().position(|byte| *byte == b'\n').map(|at| self.looked + at);
        if end.unwrap_or(self.bytes.len()) > MAX_LINE {
            return Err(Broken("a line is too long"));
        }
        let Some(end) = end else {
            self.looked = self.bytes.len();
            return Ok(None);
        };
        let rest = self.bytes.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.bytes, rest);
        line.truncate(end);
        self.looked = 0;
        Ok(Some(line))
    }
}

/// How a runner says that a cell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// At its end.
    Ok,
    /// By an error.
    Error,
    /// By an interrupt.
    Interrupted,
}

/// The end of a cell, as the runner tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// The cell.
    pub number: u64,
    /// How it ended.
    pub status: Status,
    /// What it has to show.
    #[serde(default)]
    pub results: Vec<CellResult>,
    /// Representations that were left out.
    #[serde(default)]
    pub dropped: u64,
    /// The error.
    #[serde(default)]
    pub error: Option<CellError>,
    /// The exit status of the last command.
    #[serde(default)]
    pub exit_status: Option<u8>,
}

/// A word of a runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The answer to the question how far it is.
    State {
        /// The question's own.
        nonce: String,
        /// The last cell that it took.
        last: u64,
    },
    /// A cell has ended.
    Done(Box<Done>),
}

#[derive(Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum Raw {
    State { nonce: String, last: u64 },
    Done(Box<Done>),
}

impl Said {
    /// Reads a line.
    ///
    /// # Errors
    /// When it is none that a runner says.
    pub fn read(line: &[u8]) -> Result<Self, Broken> {
        if values(line) > MAX_VALUES {
            return Err(Broken("a line has too many values"));
        }
        match serde_json::from_slice(line).map_err(|_| Broken("a line is no word"))? {
            Raw::State { nonce, last } => Ok(Self::State { nonce, last }),
            Raw::Done(done) => {
                let traceback = done.error.as_ref().map_or(0, |error| error.traceback.len());
                if traceback > MAX_TRACEBACK {
                    return Err(Broken("a traceback is too long"));
                }
                let looks: usize = done.results.iter().map(|result| result.data.len()).sum();
                if done.results.len() > MAX_RESULTS || looks > MAX_RESULTS {
                    return Err(Broken("a cell has too many results"));
                }
                Ok(Self::Done(done))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_read_and_anything_else_is_none() {
        let done = br#"{"is":"done","number":7,"status":"ok","results":[{"kind":"value","data":{"text/plain":"2"}}]}"#;
        let Ok(Said::Done(done)) = Said::read(done) else { panic!("it is a word") };
        assert_eq!((done.number, done.status, done.results.len()), (7, Status::Ok, 1));
        let state = br#"{"is":"state","nonce":"n","last":3,"running":null}"#;
        assert_eq!(Said::read(state), Ok(Said::State { nonce: "n".to_owned(), last: 3 }));
        for bad in [
            &b""[..],
            b"{}",
            b"[]",
            b"\xff",
            br#"{"is":"done"}"#,
            br#"{"is":"done","number":-1,"status":"ok"}"#,
            br#"{"is":"done","number":1,"status":"fine"}"#,
            br#"{"is":"done","number":1,"status":"ok","results":[{"kind":"value","data":{"a":1}}]}"#,
            br#"{"is":"done","number":1,"status":"ok","more":1}"#,
        ] {
            assert!(Said::read(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn a_cell_has_so_many_results_however_small_they_are() {
        let done = |results: String| {
            let line = format!(r#"{{"is":"done","number":1,"status":"ok","results":[{results}]}}"#);
            Said::read(line.as_bytes())
        };
        let empty = |count: usize| vec![r#"{"kind":"value","data":{}}"#; count].join(",");
        assert!(done(empty(MAX_RESULTS)).is_ok());
        assert!(done(empty(MAX_RESULTS + 1)).is_err());
        let looks = |count: usize| {
            let data: Vec<_> = (0..count).map(|each| format!(r#""{each}":"""#)).collect();
            format!(r#"{{"kind":"value","data":{{{}}}}}"#, data.join(","))
        };
        assert!(done(looks(MAX_RESULTS)).is_ok());
        assert!(done(looks(MAX_RESULTS + 1)).is_err());
    }

    #[test]
    fn a_line_has_so_many_values_whatever_they_are() {
        let traceback = vec![r#""""#; MAX_TRACEBACK].join(",");
        let results = vec![r#"{"kind":"value","data":{"a":""}}"#; MAX_RESULTS].join(",");
        let most = format!(
            r#"{{"number":1,"status":"error","results":[{results}],"error":{{"name":"","value":"","traceback":[{traceback}]}},"is":"done"}}"#
        );
        assert!(Said::read(most.as_bytes()).is_ok());
        // As many as fit into a line, where nobody would have looked at them.
        let zeros = vec!["0"; MAX_LINE / 2 - 100].join(",");
        for line in [
            format!(r#"{{"nonce":"","last":0,"more":[{zeros}],"is":"state"}}"#),
            format!(r#"{{"number":1,"status":"ok","results":[{zeros}],"is":"done"}}"#),
        ] {
            assert!(line.len() <= MAX_LINE);
            assert_eq!(Said::read(line.as_bytes()), Err(Broken("a line has too many values")));
        }
    }

    #[test]
    fn a_line_without_an_end_is_over_its_bound_before_it_is_large() {
        let mut lines = Lines::default();
        lines.put(&vec![b'x'; MAX_LINE]);
        assert_eq!(lines.next(), Ok(None));
        lines.put(b"xy");
        assert!(lines.next().is_err());
    }

    proptest! {
        #[test]
        fn lines_come_whole_however_their_bytes_arrive(
            lines in prop::collection::vec("[^\n]{0,40}", 0..20),
            cuts in prop::collection::vec(1usize..17, 1..200),
        ) {
            let all: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let (mut left, mut cuts) = (all.as_bytes(), cuts.into_iter().cycle());
            let (mut read, mut found) = (Lines::default(), Vec::new());
            while !left.is_empty() {
                let (piece, rest) = left.split_at(cuts.next().unwrap_or(1).min(left.len()));
                read.put(piece);
                left = rest;
                while let Some(line) = read.next().unwrap() {
                    found.push(String::from_utf8(line).unwrap());
                }
            }
            prop_assert_eq!(found, lines);
        }

        #[test]
        fn no_bytes_are_more_than_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(Said::read(&bytes));
        }
    }
}
