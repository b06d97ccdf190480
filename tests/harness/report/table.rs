//! Tables as plain text.

/// A table that prints itself: the first columns to the left, figures to the right.
pub struct Table {
    title: String,
    notes: Vec<String>,
    /// How many columns name what the figures are of.
    named: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// `columns` with their units; the first `named` hold no figures.
    pub fn new(title: impl Into<String>, named: usize, columns: &[&str]) -> Self {
        let header = columns.iter().map(ToString::to_string).collect();
        Self { title: title.into(), notes: Vec::new(), named, rows: vec![header] }
    }

    /// A line under the title.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub fn print(&self) {
        println!("\n== {}", self.title);
        self.notes.iter().for_each(|note| println!("   {note}"));
        println!();
        let widths = self.widths();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| {
                if at < self.named { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            println!("   {}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
    }

    fn widths(&self) -> Vec<usize> {
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..self.rows[0].len()).map(width).collect()
    }
}
