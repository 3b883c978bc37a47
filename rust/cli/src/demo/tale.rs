use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use serde::Serialize;
use terminal_size::Width;
use ztna_model::Time;
use ztna_net::clock::Clock;

/// The story as it is told: chapters, figures that were measured, and promises that were kept or broken.
///
/// On a terminal it is alive and coloured, in a pipe it is plain lines, and with `--json` it is one object at the end.
pub(crate) struct Tale {
    voice: Voice,
    clock: Clock,
    began: Time,
    seed: u64,
    chapters: Vec<Chapter>,
    /// What is being done at the moment, shown where something can be overwritten.
    doing: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Voice {
    Terminal,
    Plain,
    Silent,
}

/// One chapter, as `--json` prints it.
#[derive(Clone, Debug, Serialize)]
struct Chapter {
    title: String,
    promises: Vec<Promise>,
    figures: Vec<Figure>,
    notes: Vec<String>,
}

/// Something that the product promises, and whether it held in this run.
#[derive(Clone, Debug, Serialize)]
struct Promise {
    text: String,
    kept: bool,
}

/// Something that was measured in this run.
#[derive(Clone, Debug, Serialize)]
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
}

/// The whole tale, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Whole<'a> {
    version: &'static str,
    seed: u64,
    seconds: f64,
    promises: usize,
    kept: usize,
    chapters: &'a [Chapter],
}

impl Tale {
    /// Begins to tell. `seed` is printed, so that a run can be told apart and its random choices repeated.
    pub(crate) fn begin(json: bool, seed: u64) -> Self {
        let voice = match (json, io::stdout().is_terminal()) {
            (true, _) => Voice::Silent,
            (false, true) => Voice::Terminal,
            (false, false) => Voice::Plain,
        };
        let clock = Clock;
        Self { voice, clock, began: clock.now(), seed, chapters: Vec::new(), doing: None }
    }

    /// The first line.
    pub(crate) fn title(&mut self, text: &str) {
        match self.voice {
            Voice::Terminal => println!("{BOLD}{text}{PLAIN}  {DIM}seed {}{PLAIN}", self.seed),
            Voice::Plain => println!("{text} (seed {})", self.seed),
            Voice::Silent => {}
        }
    }

    /// Begins a chapter.
    pub(crate) fn chapter(&mut self, title: &str, subtitle: &str) {
        self.settle();
        let number = self.chapters.len() + 1;
        self.chapters.push(Chapter { title: title.into(), promises: vec![], figures: vec![], notes: vec![] });
        match self.voice {
            Voice::Terminal => println!("\n{BOLD}{number}. {title}{PLAIN}  {DIM}{subtitle}{PLAIN}"),
            Voice::Plain => println!("\n{number}. {title}: {subtitle}"),
            Voice::Silent => {}
        }
    }

    /// Says what is being done, where the next line can overwrite it.
    pub(crate) fn doing(&mut self, what: &str) {
        self.settle();
        if self.voice == Voice::Terminal {
            print!("   {DIM}… {what}{PLAIN}");
            // A terminal that is gone ends the program by other ways.
            let _ = io::stdout().flush();
            self.doing = Some(what.into());
        }
    }

    /// A line of the story.
    pub(crate) fn say(&mut self, text: &str) {
        self.settle();
        match self.voice {
            Voice::Terminal | Voice::Plain => println!("   {}", self.wrapped(text, 3)),
            Voice::Silent => {}
        }
        self.note(text);
    }

    /// Lines as they are, such as a table.
    pub(crate) fn lines(&mut self, text: &str) {
        text.lines().for_each(|line| self.say(line));
    }

    /// Says why the story cannot go on.
    pub(crate) fn give_up(&mut self, why: &str) {
        self.settle();
        eprintln!("\nthe demonstration cannot go on: {why}");
    }

    /// A line that is honest about what this run cannot show.
    pub(crate) fn admit(&mut self, text: &str) {
        self.settle();
        match self.voice {
            Voice::Terminal => println!("   {DIM}{}{PLAIN}", self.wrapped(text, 3)),
            Voice::Plain => println!("   ({})", self.wrapped(text, 4)),
            Voice::Silent => {}
        }
        self.note(text);
    }

    /// A promise, and whether it was kept.
    pub(crate) fn promise(&mut self, kept: bool, text: &str) {
        self.settle();
        match (self.voice, kept) {
            (Voice::Terminal, true) => println!("   {GREEN}✓{PLAIN} {}", self.wrapped(text, 5)),
            (Voice::Terminal, false) => println!("   {RED}✗ {}{PLAIN}", self.wrapped(text, 5)),
            (Voice::Plain, true) => println!("   kept: {}", self.wrapped(text, 9)),
            (Voice::Plain, false) => println!("   BROKEN: {}", self.wrapped(text, 11)),
            (Voice::Silent, _) => {}
        }
        if let Some(chapter) = self.chapters.last_mut() {
            chapter.promises.push(Promise { text: text.into(), kept });
        }
    }

    /// Keeps a figure for `--json`. What people should read of it stands in a promise or a line.
    pub(crate) fn figure(&mut self, name: &'static str, value: f64, unit: &'static str) {
        if let Some(chapter) = self.chapters.last_mut() {
            chapter.figures.push(Figure { name, value, unit });
        }
    }

    /// Keeps a span as a figure, in milliseconds.
    pub(crate) fn span(&mut self, name: &'static str, span: Duration) {
        self.figure(name, span.as_secs_f64() * 1_000.0, "ms");
    }

    /// The end: how many promises there were, and how many were kept. Says whether all were.
    pub(crate) fn end(&mut self) -> bool {
        self.settle();
        let promises = self.chapters.iter().map(|chapter| chapter.promises.len()).sum::<usize>();
        let kept = |chapter: &Chapter| chapter.promises.iter().filter(|promise| promise.kept).count();
        let kept = self.chapters.iter().map(kept).sum::<usize>();
        let seconds = self.clock.now().since(self.began).as_secs_f64();
        let colour = if kept == promises { GREEN } else { RED };
        match self.voice {
            Voice::Terminal => {
                println!(
                    "\n{BOLD}{colour}{promises} promises, {kept} kept{PLAIN}  {DIM}{seconds:.1} s{PLAIN}"
                );
            }
            Voice::Plain => println!("\n{promises} promises, {kept} kept, {seconds:.1} s"),
            Voice::Silent => {
                let version = env!("CARGO_PKG_VERSION");
                let whole =
                    Whole { version, seed: self.seed, seconds, promises, kept, chapters: &self.chapters };
                // Plain data always has a JSON form.
                println!("{}", serde_json::to_string_pretty(&whole).unwrap_or_default());
            }
        }
        promises > 0 && kept == promises
    }

    /// `text` in lines of the width that there is, all but the first after `indent` blanks.
    fn wrapped(&self, text: &str, indent: usize) -> String {
        let wide = match self.voice {
            Voice::Terminal => terminal_size::terminal_size().map(|(Width(width), _)| width.into()),
            Voice::Plain | Voice::Silent => None,
        };
        wrap(text, indent, wide.map_or(WIDEST, |wide: usize| wide.min(WIDEST)))
    }

    fn note(&mut self, text: &str) {
        if let Some(chapter) = self.chapters.last_mut() {
            chapter.notes.push(text.into());
        }
    }

    /// Wipes what was being done.
    fn settle(&mut self) {
        if self.doing.take().is_some() {
            print!("\r\x1b[2K");
        }
    }
}

/// Breaks `text` at blanks, where it would pass `width` columns. A table's line has many blanks in a row and stays whole.
fn wrap(text: &str, indent: usize, width: usize) -> String {
    if text.contains("  ") {
        return text.to_owned();
    }
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        let room = width.saturating_sub(indent + line.chars().count());
        if line.is_empty() {
            line.push_str(word);
        } else if word.chars().count() < room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

/// A span as people read it: `3.1 ms`, `1.4 s`.
pub(crate) fn in_words(span: Duration) -> String {
    let millis = span.as_secs_f64() * 1_000.0;
    match millis {
        millis if millis < 10.0 => format!("{millis:.1} ms"),
        millis if millis < 1_000.0 => format!("{millis:.0} ms"),
        millis => format!("{:.1} s", millis / 1_000.0),
    }
}

/// Longer lines are hard to read.
const WIDEST: usize = 110;
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

#[cfg(test)]
mod tests {
    use ztna_model::millis;

    use super::*;

    #[test]
    fn spans_in_words() {
        let rows = [(3, "3.0 ms"), (12, "12 ms"), (999, "999 ms"), (1_400, "1.4 s")];
        for (span, words) in rows {
            assert_eq!(in_words(millis(span)), words);
        }
    }

    #[test]
    fn lines_break_at_blanks() {
        let rows = [
            ("one two three", 0, 80, "one two three"),
            ("one two three", 2, 10, "one two\n  three"),
            ("one", 2, 1, "one"),
            ("alongword and", 0, 4, "alongword\nand"),
            ("a table  has columns", 0, 4, "a table  has columns"),
        ];
        for (text, indent, width, expected) in rows {
            assert_eq!(wrap(text, indent, width), expected);
        }
    }

    #[test]
    fn one_broken_promise_breaks_the_tale() {
        let mut tale = Tale::begin(true, 1);
        assert!(!tale.end(), "a tale without promises proves nothing");
        tale.chapter("a", "b");
        tale.promise(true, "c");
        assert!(tale.end());
        tale.promise(false, "d");
        assert!(!tale.end());
    }
}
