//! How much memory cells take.

use std::collections::BTreeMap;

use supervisor_api::{Cell, CellError, CellResult};

/// Bytes of a value or a cell from which on it is read, written and copied away from the thread that serves
/// everybody.
pub const LARGE: usize = 64 << 10;

/// Bytes that an allocation takes besides what was asked for.
const ALLOCATION: usize = 16;

/// Bytes of a node of a map, which has room for eleven entries.
const NODE: usize = 11 * 2 * size_of::<String>() + 4 * size_of::<usize>();

/// About how much memory a cell takes.
pub fn of(cell: &Cell) -> usize {
    let told = results(&cell.results) + cell.error.as_ref().map_or(0, error);
    let words = text(&cell.created_at) + cell.started_at.as_deref().map_or(0, text);
    size_of::<Cell>() + ALLOCATION + text(&cell.source) + words + told
}

/// What it has to show.
pub fn results(results: &[CellResult]) -> usize {
    results.iter().map(result).sum()
}

/// The error that ended it.
pub fn error(error: &CellError) -> usize {
    let lines = error.traceback.iter().map(|line| text(line) + size_of::<String>());
    text(&error.name) + text(&error.value) + lines.sum::<usize>()
}

fn result(result: &CellResult) -> usize {
    size_of::<CellResult>() + data(&result.data)
}

fn data(data: &BTreeMap<String, String>) -> usize {
    // Nodes but the first are half full or more.
    let nodes = data.len().div_ceil(5) * (NODE + ALLOCATION);
    nodes + data.iter().map(|(name, value)| text(name) + text(value)).sum::<usize>()
}

fn text(text: &str) -> usize {
    text.len() + ALLOCATION
}
