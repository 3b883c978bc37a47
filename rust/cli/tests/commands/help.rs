use crate::program::run;

#[test]
fn every_command_says_in_a_line_what_it_is_for() {
    let mut open = vec![vec![]];
    let mut seen = 0;
    while let Some(command) = open.pop() {
        let args: Vec<&str> = command.iter().map(String::as_str).chain(["-h"]).collect();
        let (code, help, err) = run(&args, &[]);
        assert_eq!(code, 0, "{args:?}: {err}");
        let about = help.lines().next().unwrap_or_default();
        assert!(
            about.len() > 8 && !about.starts_with("Usage"),
            "{command:?} does not say what it is for: {help}"
        );
        assert!(!about.ends_with('.'), "{command:?}: a sentence without its period, as everywhere: {about}");
        for (name, about) in listed(&help, "Commands:") {
            assert!(!about.is_empty(), "{command:?} {name} is in the list without a word");
            if name != "help" {
                let mut inner = command.clone();
                inner.push(name);
                open.push(inner);
            }
        }
        for block in ["Options:", "Arguments:"] {
            for (name, about) in listed(&help, block) {
                assert!(!about.is_empty(), "{command:?}: {name} is not explained");
            }
        }
        seen += 1;
    }
    assert!(seen > 60, "only {seen} commands were found");
}

/// The entries under a heading of a help text, each with what stands behind it.
fn listed(help: &str, heading: &str) -> Vec<(String, String)> {
    let lines = help.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.is_empty());
    let mut found: Vec<(String, String)> = vec![];
    for line in lines {
        let indent = line.len() - line.trim_start().len();
        match found.last_mut() {
            Some((_, about)) if indent > 8 => about.push_str(line.trim()),
            _ => {
                let (name, about) = line.trim().split_once("  ").unwrap_or((line.trim(), ""));
                found.push((name.to_owned(), about.trim().to_owned()));
            }
        }
    }
    found
}
