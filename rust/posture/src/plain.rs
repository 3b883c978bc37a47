/// A device's text, fit to be shown: no control characters, which steer terminals, no marks that turn the
/// direction of writing round, and at most 256 bytes.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars().filter(|c| !steers(*c)) {
        if plain.len() + c.len_utf8() > LONGEST {
            break;
        }
        plain.push(c);
    }
    plain
}

fn steers(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

/// Bytes.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_device_cannot_steer_a_terminal_or_flood_a_screen() {
        let rows = [
            ("plain", "plain"),
            ("\u{1b}[31mred\u{7}\r\n", "[31mred"),
            ("abc\u{202e}fed", "abcfed"),
            ("Zürich 東京", "Zürich 東京"),
        ];
        for (text, expected) in rows {
            assert_eq!(plain(text), expected);
        }
        assert_eq!(plain(&"é".repeat(1_000)).len(), 256);
        assert_eq!(plain(&format!("a{}", "é".repeat(1_000))).len(), 255); // never half a character
    }
}
