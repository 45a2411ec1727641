//! What a payload's standard streams are to be.

use supervisor_api::{ApiError, Content, TerminalSize};

use crate::input::MAX_PIECE;

/// Bytes of standard input at the most; larger data is a file.
const MAX_STDIN: usize = 16 << 20;

/// What those with a terminal find in their environment: what every terminal there is can do.
pub(super) const TERMINAL: (&str, &str) = ("TERM", "xterm");

/// Standard input as it comes with a submission.
pub(super) struct Given {
    /// Its bytes.
    pub(super) stdin: Vec<u8>,
    /// Whether more may come.
    pub(super) stdin_open: bool,
}

/// Checks what a submission says of its streams.
pub(super) fn given(
    stdin: Option<Content>,
    stdin_open: bool,
    terminal: Option<TerminalSize>,
) -> Result<Given, ApiError> {
    let stdin = stdin.map(|content| content.0).unwrap_or_default();
    if stdin.len() > MAX_STDIN {
        let problem = format!("standard input is at most {MAX_STDIN} bytes");
        return Err(ApiError::invalid("stdin", problem).with_hint("hand larger data in as a file"));
    }
    terminal.map(|size| check_size(size, "terminal.")).transpose()?;
    let stdin_open = stdin_open || terminal.is_some();
    if stdin_open && stdin.len() as u64 > MAX_PIECE {
        let problem = format!("where standard input stays open, {MAX_PIECE} bytes come with it");
        return Err(ApiError::invalid("stdin", problem)
            .with_hint("send the rest while it runs: POST /v1/executions/ID/stdin"));
    }
    Ok(Given { stdin, stdin_open })
}

/// Checks the size of a terminal, whose fields have this before their names.
pub fn check_size(size: TerminalSize, place: &str) -> Result<(), ApiError> {
    for (name, value) in [("rows", size.rows), ("columns", size.columns)] {
        if value == 0 {
            return Err(ApiError::invalid(
                format!("{place}{name}"),
                "a terminal has 1 at the least",
            ));
        }
    }
    Ok(())
}
