//! Our terminal while it is a payload's: every key goes there as it is.

use std::io::{self, IsTerminal, Write};

use rustix::termios::{OptionalActions, OutputModes, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use supervisor_api::TerminalSize;

use crate::failure::Failure;

/// The size of a terminal of which nobody knows one.
const USUAL: TerminalSize = TerminalSize { rows: 24, columns: 80 };

/// What a payload may have left behind that would garble what comes after it: colours, a hidden cursor,
/// keypad and mouse reports, marked pastes.
const PLAIN: &str =
    "\x1b[0m\x1b[?25h\x1b[?1l\x1b>\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l";

/// Our terminal in raw mode. Dropped, it is as it was.
#[derive(Debug)]
pub struct RawTerminal {
    before: Termios,
    /// Whether keys were a payload's.
    had_keys: bool,
}

impl RawTerminal {
    /// Has what is shown go through as it is: a payload's terminal has made it ready for one. Keys stay ours.
    pub fn show() -> Result<Self, Failure> {
        Self::change(false, |raw| raw.output_modes.remove(OutputModes::OPOST))
    }

    /// Has every key passed on as it is, Ctrl-C among them.
    pub fn enter() -> Result<Self, Failure> {
        Self::change(true, Termios::make_raw)
    }

    fn change(had_keys: bool, how: impl FnOnce(&mut Termios)) -> Result<Self, Failure> {
        let failed = |error: rustix::io::Errno| {
            Failure::local("cannot take over the terminal")(io::Error::from(error))
        };
        let before = tcgetattr(io::stdin()).map_err(failed)?;
        let mut raw = before.clone();
        how(&mut raw);
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).map_err(failed)?;
        Ok(Self { before, had_keys })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing restored.
        tcsetattr(io::stdin(), OptionalActions::Now, &self.before).ok();
        let mut stdout = io::stdout();
        if self.had_keys && stdout.is_terminal() {
            stdout.write_all(PLAIN.as_bytes()).and_then(|()| stdout.flush()).ok();
        }
    }
}

/// The size of our terminal, or the usual one where we have none that tells.
pub fn size() -> TerminalSize {
    let known = |size: &rustix::termios::Winsize| size.ws_row > 0 && size.ws_col > 0;
    let found = [tcgetwinsize(io::stdin()), tcgetwinsize(io::stdout())].into_iter().flatten();
    found
        .into_iter()
        .find(known)
        .map_or(USUAL, |size| TerminalSize { rows: size.ws_row, columns: size.ws_col })
}
