/// Whether the expressions of the policy `text` nest too deep. Whatever reads or evaluates one calls itself for each
/// level, and a thread has room for so many; so levels are counted on the text, before anything reads it, and rather
/// too many than too few: a chain of `&&` has as many as it has links, since one holds the other.
pub(super) fn is_too_deep(text: &str) -> bool {
    let (mut level, mut around): (Level, Vec<Level>) = Default::default();
    let (mut outside, mut rest) = (0, text);
    while !rest.is_empty() {
        let (token, after) = rest.split_at_checked(token_length(rest)).unwrap_or((rest, ""));
        match token {
            "(" | "[" | "{" => {
                outside += level.depth();
                around.push(std::mem::take(&mut level));
            }
            ")" | "]" | "}" => {
                level = around.pop().unwrap_or_default();
                outside = outside.saturating_sub(level.depth());
                level.path += 1; // what follows may be a member of it
            }
            "." => level.path += 1,
            "," => level = Level::default(),
            "&&" | "||" | "if" => level = Level { links: level.links + 1, ..Level::default() },
            "!" | "=" | "<" | ">" | "+" | "-" | "*" | "has" | "like" | "in" | "is" => {
                level = Level { operators: level.operators + 1, path: 0, ..level };
            }
            _ => {}
        }
        if outside + level.depth() > DEEPEST {
            return true;
        }
        rest = after;
    }
    false
}

/// What was seen between two brackets so far.
#[derive(Clone, Copy, Default)]
struct Level {
    links: usize,
    /// Since the last link.
    operators: usize,
    /// Since the last operator.
    path: usize,
}

impl Level {
    const fn depth(self) -> usize {
        self.links + self.operators + self.path + 1
    }
}

fn token_length(text: &str) -> usize {
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let first = text.chars().next().unwrap_or_default();
    match first {
        '"' => string_length(text),
        '/' if text.starts_with("//") => text.find(['\n', '\r']).unwrap_or(text.len()),
        '&' | '|' if text.starts_with("&&") || text.starts_with("||") => 2,
        _ if is_of_word(first) => text.find(|c| !is_of_word(c)).unwrap_or(text.len()),
        _ => first.len_utf8(),
    }
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// Some three dozen conditions. Each level takes up to 100 KiB of a thread's stack where nothing is optimised.
const DEEPEST: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    /// As many repetitions as may be, of the text that `policy` makes of their number.
    fn most(policy: impl Fn(usize) -> String) -> usize {
        (1..).take_while(|number| !is_too_deep(&policy(*number))).last().unwrap()
    }

    #[test]
    fn what_nests_is_counted_and_what_stands_side_by_side_is_not() {
        let around = |inner: String| format!("permit (principal, action, resource) when {{ {inner} }};");
        type Shape = fn(usize) -> String;
        let nests: [Shape; 9] = [
            |n| format!("{}true{}", "(".repeat(n), ")".repeat(n)),
            |n| format!("{}true{}", "!(".repeat(n), ")".repeat(n)),
            |n| format!("{}1{}.contains(1)", "[".repeat(n), "]".repeat(n)),
            |n| format!("true{}", "&&true".repeat(n)),
            |n| format!("true{}", " || true".repeat(n)),
            |n| format!("1{} == 1", "+1".repeat(n)),
            |n| format!("{}true{}", "if true then ".repeat(n), " else true".repeat(n)),
            |n| format!("context{}", ".a".repeat(n)),
            |n| format!("context{}", "[\"a\"]".repeat(n)),
        ];
        for shape in nests {
            assert!((5..DEEPEST).contains(&most(|n| around(shape(n)))), "{}", shape(3));
        }
        let clauses = |n| format!("permit (principal, action, resource) {};", "when { true }".repeat(n));
        assert!((5..DEEPEST).contains(&most(clauses)));
        let flat: [Shape; 4] = [
            |n| format!("[{}].contains(1)", "1,".repeat(n)),
            |n| format!("\"{}\" == \"\"", "((.\\\"&&".repeat(n)),
            |n| format!("true // {}\n", "((&&".repeat(n)),
            |n| format!("{} == 1", "b".repeat(n)),
        ];
        for shape in flat {
            assert!(!is_too_deep(&around(shape(1_000))), "{}", shape(3));
        }
    }
}
