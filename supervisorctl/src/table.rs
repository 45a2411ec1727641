//! Tables for people. Every cell is made harmless here, so that no name or reason can get past.

use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use supervisor_api::ControlStatus;

use crate::terminal;

/// A table without lines, with this header.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    // The console takes the styles out again where they are not wanted.
    table.enforce_styling();
    table.set_header(header.iter().map(|title| cell(title)));
    table
}

/// A table whose first column is never broken into lines, because people copy from it.
pub fn table_of(header: &[&str]) -> Table {
    let mut table = table(header);
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    table
}

/// A cell with text of anybody.
pub fn cell(text: &str) -> Cell {
    Cell::new(terminal::name(text))
}

/// A cell with the status of a control.
pub fn status_cell(status: ControlStatus) -> Cell {
    let color = match status {
        ControlStatus::Enforced => Color::DarkGreen,
        ControlStatus::Weaker => Color::DarkYellow,
        ControlStatus::Missing => Color::DarkRed,
        ControlStatus::Unused => Color::DarkGrey,
    };
    Cell::new(status_name(status)).fg(color)
}

/// The status in a word.
pub fn status_name(status: ControlStatus) -> &'static str {
    match status {
        ControlStatus::Enforced => "enforced",
        ControlStatus::Weaker => "weaker",
        ControlStatus::Missing => "missing",
        ControlStatus::Unused => "unused",
    }
}

/// The table as text that ends with a newline.
pub fn text(table: &Table) -> String {
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}
