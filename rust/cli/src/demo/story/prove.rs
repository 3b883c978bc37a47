use ztna_model::secs;

use crate::demo::dice::Dice;
use crate::demo::process::Process;
use crate::demo::stage::Stage;
use crate::demo::tale::Tale;
use crate::demo::trouble::{Trouble, While as _};

pub(super) async fn play(tale: &mut Tale, stage: &Stage, dice: &mut Dice) -> Result<(), Trouble> {
    tale.chapter("Prove", "all of it was written down");
    let (socket, file) = (stage.path("broker/admin.sock"), stage.path("audit.jsonl"));
    run(stage, "audit", &["audit", "--socket", &socket, "export", "--to", &file]).await?;
    let log = std::fs::read_to_string(&file).while_doing("reading the exported log")?;
    let (good, said) = check(stage, &file).await?;
    let rows = log.lines().filter(|line| line.starts_with("{\"number\"")).count();
    tale.figure("audit_rows", rows as f64, "rows");
    tale.promise(
        good,
        &format!("the log of all this verifies, with nothing but the organisation's string: {said}"),
    );
    let (number, changed) = with_one_byte_changed(&log, dice).while_doing("changing a byte of the log")?;
    let copy = stage.path("audit-changed.jsonl");
    std::fs::write(&copy, changed).while_doing("writing a copy of the log")?;
    let (good, said) = check(stage, &copy).await?;
    tale.promise(
        !good && names(&said, number),
        &format!("one byte of row {number} changed in a copy: found. \"{said}\""),
    );
    Ok(())
}

/// Whether `said` names this very row, and not one whose number holds the same digits.
fn names(said: &str, row: usize) -> bool {
    said.split(|c: char| !c.is_ascii_digit()).any(|word| word == row.to_string())
}

/// Has an auditor's process check an exported log; returns whether it holds, and what was said.
async fn check(stage: &Stage, file: &str) -> Result<(bool, String), Trouble> {
    let org = stage.org.to_string();
    run(stage, "auditor", &["audit", "check", file, "--org", &org]).await
}

async fn run(stage: &Stage, name: &str, args: &[&str]) -> Result<(bool, String), Trouble> {
    let mut process = Process::start(name, &stage.dir, args).await?;
    let success = process.ended(secs(10)).await?.success();
    let said = match process.says(secs(1), |line| Some(line.to_owned())).await {
        Ok((_, line)) => line,
        Err(_) => String::new(),
    };
    Ok((success, said))
}

/// The log with one digit of one record changed, and that record's number.
fn with_one_byte_changed(log: &str, dice: &mut Dice) -> Option<(usize, String)> {
    let rows: Vec<usize> = log
        .lines()
        .enumerate()
        .filter(|(_, line)| line.starts_with("{\"number\"") && line.contains("\"record\":{\"at\":"))
        .map(|(index, _)| index)
        .collect();
    let index = *rows.get(dice.below(rows.len()))?;
    let line = log.lines().nth(index)?;
    let (before, after) = line.split_once("\"record\":{\"at\":")?;
    let digit = after.chars().nth(5)?;
    let other = if digit == '7' { '8' } else { '7' };
    let tail = after.get(6..)?;
    let changed = format!("{before}\"record\":{{\"at\":{}{other}{tail}", after.get(..5)?);
    let number = line.strip_prefix("{\"number\":")?.split_once(',')?.0.parse().ok()?;
    let lines: Vec<&str> =
        log.lines().enumerate().map(|(n, line)| if n == index { changed.as_str() } else { line }).collect();
    Some((number, lines.join("\n")))
}
