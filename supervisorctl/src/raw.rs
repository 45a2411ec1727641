//! Our terminal while it is a payload's: every key goes there as it is.

use std::io::{self, IsTerminal, Write};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
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
}

impl RawTerminal {
    /// Has every key passed on as it is, Ctrl-C among them.
    pub fn enter() -> Result<Self, Failure> {
        let failed = |error: rustix::io::Errno| {
            Failure::local("cannot take over the terminal")(io::Error::from(error))
        };
        let before = tcgetattr(io::stdin()).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).map_err(failed)?;
        Ok(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing restored.
        tcsetattr(io::stdin(), OptionalActions::Now, &self.before).ok();
        let mut stdout = io::stdout();
        if stdout.is_terminal() {
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
