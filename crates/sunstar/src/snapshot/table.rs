//! Tables with aligned columns.

use std::fmt::{self, Display, Formatter};

/// To which side a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

use Align::{Left, Right};

/// A table: headings, rows, and lines that go with a row.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<(Vec<String>, Option<String>)>,
}

impl Table {
    /// A table without rows. A heading that begins with `>` is that of a column of numbers.
    pub(super) fn new<T: AsRef<str>>(headings: impl IntoIterator<Item = T>) -> Self {
        let column = |heading: T| match heading.as_ref().strip_prefix('>') {
            Some(heading) => (heading.to_owned(), Right),
            None => (heading.as_ref().to_owned(), Left),
        };
        Self { columns: headings.into_iter().map(column).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push((cells.into_iter().collect(), None));
    }

    /// Adds a row, and a line below it that the columns do not matter to.
    pub(super) fn row_with(&mut self, cells: impl IntoIterator<Item = String>, below: String) {
        self.rows.push((cells.into_iter().collect(), Some(below)));
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let width = |(at, (heading, _)): (usize, &(String, Align))| {
            let cells = self.rows.iter().filter_map(|(cells, _)| cells.get(at));
            cells.chain([heading]).map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<_> = self.columns.iter().enumerate().map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::new();
            for ((cell, width), (_, align)) in cells.zip(&widths).zip(&self.columns) {
                let gap = if line.is_empty() { "" } else { "  " };
                line += &match align {
                    Left => format!("{gap}{cell:<width$}"),
                    Right => format!("{gap}{cell:>width$}"),
                };
            }
            line.truncate(line.trim_end().len());
            line
        };
        f.write_str(&line(&mut self.columns.iter().map(|(heading, _)| heading.as_str())))?;
        for (cells, below) in &self.rows {
            write!(f, "\n{}", line(&mut cells.iter().map(String::as_str)))?;
            if let Some(below) = below {
                write!(f, "\n      {below}")?;
            }
        }
        Ok(())
    }
}

/// The cell of something that may not be there.
pub(super) fn or_dash<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A count with its noun, in the singular for one.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
