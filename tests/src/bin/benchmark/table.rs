//! Columns of text: the first to the left, the others to the right.

/// Rows of cells.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints all rows under a title.
    pub fn print(&self, title: &str) {
        println!("\n{title}");
        for row in &self.rows {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let width = self.width(column);
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            println!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
    }

    /// One cell is no column: a note at the end of a row may be as long as it likes.
    fn width(&self, column: usize) -> usize {
        let rows = self.rows.iter().filter(|row| row.len() > 2);
        let cells = rows.filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    }
}
