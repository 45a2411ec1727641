//! What a payload's standard input is.

use crate::wire::{Malformed, Reader, Writer};

/// What a payload's standard input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Input {
    /// A pipe whose only writing end is the daemon's, for as long as it lives.
    #[default]
    Given,
    /// A pipe whose writing end the launcher keeps besides, until it is told to close it, and a file in
    /// memory with the bytes that are on their way into it.
    Open,
    /// A pseudo-terminal of this size, which is standard output and error as well. The launcher keeps its
    /// master besides, and a file in memory with the bytes that are on their way into it.
    Terminal {
        /// Its lines.
        rows: u16,
        /// Characters in a line.
        columns: u16,
    },
}

impl Input {
    /// Whether it is a terminal.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Input::Terminal { .. })
    }

    pub(crate) fn write(self, writer: &mut Writer) {
        let (kind, rows, columns) = match self {
            Input::Given => (0, 0, 0),
            Input::Open => (1, 0, 0),
            Input::Terminal { rows, columns } => (2, rows, columns),
        };
        writer.u8(kind);
        writer.u16(rows);
        writer.u16(columns);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match (reader.u8()?, reader.u16()?, reader.u16()?) {
            (0, 0, 0) => Ok(Input::Given),
            (1, 0, 0) => Ok(Input::Open),
            (2, rows, columns) => Ok(Input::Terminal { rows, columns }),
            _ => Err(Malformed("an input of no known kind")),
        }
    }
}
