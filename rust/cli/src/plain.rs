/// Text from elsewhere, fit for a terminal and for a line of a log: what would steer either, or turn the direction of
/// writing round, shows as its escape.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) { plain.extend(c.escape_default()) } else { plain.push(c) }
    }
    plain
}

fn steers(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks = matches!(c, '\u{2028}' | '\u{2029}');
    c.is_control() || turns || breaks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h04_text_from_elsewhere_steers_no_terminal() {
        let rows = [
            ("Zürich 東京", "Zürich 東京"),
            ("\u{1b}[2Jred\u{7}", r"\u{1b}[2Jred\u{7}"),
            ("one\r\ntwo\t", r"one\r\ntwo\t"),
            ("\u{9b}31m\u{7f}", r"\u{9b}31m\u{7f}"),
            ("abc\u{202e}fed\u{2066}", r"abc\u{202e}fed\u{2066}"),
        ];
        for (text, expected) in rows {
            assert_eq!(plain(text), expected);
        }
    }
}
