use std::io::{self, IsTerminal as _};

use terminal_size::{Width, terminal_size_of};

use crate::plain::plain;

/// Rows in columns as wide as their widest entry, for people. Whatever an entry holds, it stays in its place; what is
/// wider than the terminal goes on below, in its column.
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
            print!("{}", self.fitted(0));
        }
    }

    /// The table, fit for a terminal on which `margin` characters stand before each line.
    pub(crate) fn fitted(&self, margin: usize) -> String {
        self.lines(terminal_width().saturating_sub(margin))
    }

    /// The table in lines of at most `most` characters, unless it has too many columns for that.
    fn lines(&self, most: usize) -> String {
        let widths = self.widths(most);
        let mut lines = String::new();
        for row in &self.rows {
            let cells: Vec<Vec<String>> =
                row.iter().zip(&widths).map(|(cell, width)| wrapped(cell, *width)).collect();
            for line in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
                let parts = cells.iter().zip(&widths).map(|(cell, width)| {
                    let part = cell.get(line).map_or("", String::as_str);
                    format!("{part:width$}  ", width = *width)
                });
                lines.push_str(parts.collect::<String>().trim_end());
                lines.push('\n');
            }
        }
        lines
    }

    /// As wide as their widest entries; where that is too wide, the widest give way.
    fn widths(&self, most: usize) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..columns).map(width).collect();
        let gaps = GAP * columns.saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > most
            && let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > NARROWEST)
        {
            *widest -= 1;
        }
        widths
    }
}

/// `text` in lines of at most `width` characters, broken between words where there are any.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        loop {
            let line = lines.last().map_or(0, |line| line.chars().count());
            let space = usize::from(line > 0);
            let Some(line_now) = lines.last_mut() else { break };
            if line + space + word.len() <= width {
                if space > 0 {
                    line_now.push(' ');
                }
                line_now.extend(word);
                break;
            }
            // A word that is longer than any line is broken where a line ends.
            if line == 0 {
                line_now.extend(word.drain(..width.clamp(1, word.len())));
                if word.is_empty() {
                    break;
                }
            }
            lines.push(String::new());
        }
    }
    lines
}

/// Where nobody looks, lines are as long as they are.
fn terminal_width() -> usize {
    let stdout = io::stdout();
    match terminal_size_of(&stdout).filter(|_| stdout.is_terminal()) {
        Some((Width(columns), _)) if columns > 0 => usize::from(columns),
        Some(_) | None => usize::MAX,
    }
}

const GAP: usize = 2;
/// Narrower, and no word fits.
const NARROWEST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["id", "title"]);
        table.row(["wiki".into(), "Wiki".into()]);
        table.row(["payroll".into(), "Löhne und Gehälter".into()]);
        table.row(["x".into(), "\u{1b}[A\u{202e}".into()]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_entry() {
        let expected =
            "ID       TITLE\nwiki     Wiki\npayroll  Löhne und Gehälter\nx        \\u{1b}[A\\u{202e}\n";
        assert_eq!(table().lines(usize::MAX), expected);
        assert_eq!(table().lines(27), expected);
    }

    #[test]
    fn what_is_too_wide_goes_on_below() {
        let expected = "ID       TITLE\nwiki     Wiki\npayroll  Löhne und\n         Gehälter\nx        \\u{1b}[A\\u{\n         202e}\n";
        assert_eq!(table().lines(20), expected);
        assert!(table().lines(0).lines().all(|line| line.chars().count() <= 2 * NARROWEST + GAP));
    }

    #[test]
    fn no_word_is_lost() {
        let rows = [
            ("", 4, vec![""]),
            ("ab cd", 5, vec!["ab cd"]),
            ("ab cd", 4, vec!["ab", "cd"]),
            ("abcdefgh ij", 3, vec!["abc", "def", "gh", "ij"]),
            ("a  b", 1, vec!["a", "b"]),
        ];
        for (text, width, expected) in rows {
            assert_eq!(wrapped(text, width), expected, "{text} {width}");
        }
    }
}
