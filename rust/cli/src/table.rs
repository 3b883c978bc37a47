use std::fmt::Write as _;

use crate::plain::plain;

/// Rows in columns as wide as their widest entry, for people. Whatever an entry holds, it stays in its place.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|title| (*title).to_uppercase()).collect()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| plain(&cell)).into());
    }

    /// Prints the table, or a sentence where it has no rows.
    pub(crate) fn print(&self, nothing: &str) {
        if self.rows.len() == 1 {
            println!("{nothing}");
        } else {
            print!("{self}");
        }
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:width$}  ")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_entry() {
        let mut table = Table::new(&["id", "title"]);
        table.row(["wiki".into(), "Wiki".into()]);
        table.row(["payroll".into(), "Löhne".into()]);
        table.row(["x".into(), "\u{1b}[A\u{202e}".into()]);
        let expected = "ID       TITLE\nwiki     Wiki\npayroll  Löhne\nx        \\u{1b}[A\\u{202e}\n";
        assert_eq!(table.to_string(), expected);
    }
}
