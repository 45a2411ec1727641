//! What `run` tells at the end.

use serde_json::json;
use supervisor_api::{Content, Execution};

use crate::artifacts::{self, Fetched};
use crate::cli::{GlobalOptions, Selection};
use crate::failure::Failure;
use crate::{console, output, summary};

/// Blanks before a line that belongs to the one above.
const INDENT: &str = "            ";

/// The end of an execution that `run` attended to.
#[derive(Debug)]
pub struct Report {
    /// The finished execution.
    pub execution: Execution,
    /// Its standard output, with `--json`.
    pub stdout: Vec<u8>,
    /// Its standard error, with `--json`.
    pub stderr: Vec<u8>,
    /// Bytes of output that never came.
    pub missing: u64,
    /// Its artifacts on this machine.
    pub fetched: Fetched,
    /// Lines about what matched a glob and was not kept.
    pub left_out: String,
    /// What went wrong after its end.
    pub problems: Vec<Failure>,
}

impl Report {
    /// Nothing but the execution yet.
    pub fn new(execution: Execution) -> Self {
        let (stdout, stderr, problems) = (Vec::new(), Vec::new(), Vec::new());
        let (fetched, left_out) = (Fetched::default(), String::new());
        Self { execution, stdout, stderr, missing: 0, fetched, left_out, problems }
    }

    /// One JSON object on standard output, or a summary on standard error.
    pub fn print(&self, global: &GlobalOptions) -> Result<(), Failure> {
        if global.json {
            return self.print_json();
        }
        if !global.quiet {
            let mut files = artifacts::describe(&self.fetched, INDENT);
            for line in self.left_out.lines() {
                files.push_str(&format!("{INDENT}{line}\n"));
            }
            console::notice(&summary::execution(&self.execution, &files));
            console::notice(&output::notices(&self.execution, Selection::Both, self.missing));
        }
        Ok(())
    }

    fn print_json(&self) -> Result<(), Failure> {
        let mut result = json!({
            "execution": self.execution,
            "stdout": Content(self.stdout.clone()),
            "stderr": Content(self.stderr.clone()),
            "saved": self.fetched.saved,
        });
        if let (false, Some(fields)) = (self.fetched.unsaved.is_empty(), result.as_object_mut()) {
            fields.insert("unsaved".to_owned(), json!(self.fetched.unsaved));
        }
        console::print_json(&result)
    }
}
