use std::collections::BTreeSet;
use std::time::Duration;

use ztna_api::admin::{Answer, Op};
use ztna_api::problem::Problem;
use ztna_model::{Fix, Port};

use crate::demo::browser::Browser;
use crate::demo::dice::Dice;
use crate::demo::modified::{Modified, Stream, name};
use crate::demo::process::Process;
use crate::demo::stage::{Connected, Stage, write};
use crate::demo::tale::{Tale, in_words};
use crate::demo::trouble::{Trouble, While as _};

pub(super) async fn play(
    tale: &mut Tale,
    stage: &Stage,
    ana: &Connected,
    dice: &mut Dice,
) -> Result<Tablet, Trouble> {
    tale.chapter("Reach", "one application, not a network");
    reached(tale, stage, ana).await?;
    denied(tale, ana).await?;
    hidden(tale, stage, ana, dice).await
}

async fn reached(tale: &mut Tale, stage: &Stage, ana: &Connected) -> Result<(), Trouble> {
    let page = ana.application.page("wiki.demo").await?;
    let test = Op::PolicyTest {
        person: stage.ana.clone(),
        device: None,
        resource: "wiki".parse().while_doing("naming the wiki")?,
    };
    let Answer::Tested { verdicts } = stage.ask(test).await? else {
        return Err(Trouble::new("asking why the wiki is open", "the broker does not say"));
    };
    let policies: BTreeSet<String> =
        verdicts.iter().flat_map(|verdict| &verdict.policies).map(ToString::to_string).collect();
    let policies: Vec<String> = policies.into_iter().collect();
    match page {
        Ok(page) => {
            tale.span("first_byte", page.first_byte);
            tale.promise(
                page.text.contains("This is the wiki"),
                &format!(
                    "wiki.demo answers: first byte after {}, lease and WireGuard handshake included; allowed by policy {}",
                    in_words(page.first_byte),
                    policies.join(", ")
                ),
            );
        }
        Err(problem) => tale.promise(false, &format!("wiki.demo answers; it says: {}", problem.title)),
    }
    Ok(())
}

async fn denied(tale: &mut Tale, ana: &Connected) -> Result<(), Trouble> {
    match ana.application.page("payroll.demo").await? {
        Ok(_) => tale.promise(false, "payroll.demo is visible but denied"),
        Err(problem) => tale.promise(
            !problem.fixes.is_empty() && problem.reason.is_some(),
            &format!("payroll.demo is visible but denied. {}", because(&problem)),
        ),
    }
    Ok(())
}

/// Why, and what would help.
pub(super) fn because(problem: &Problem) -> String {
    let reason = problem.detail.as_deref().unwrap_or(&problem.title);
    let fixes: Vec<String> = problem.fixes.iter().map(fix).collect();
    format!("\"{}\" What would help: {}.", reason, fixes.join(", "))
}

fn fix(fix: &Fix) -> String {
    match fix {
        Fix::Device { fact } => format!("bring `{fact}` in order"),
        Fix::SignIn => "sign in again".into(),
        Fix::AwaitAdmission => "wait for admission".into(),
        Fix::AskAdministrator => "ask an administrator".into(),
        Fix::Retry => "try again".into(),
    }
}

/// A modified client on a second device of Ana's asks the broker directly.
async fn hidden(tale: &mut Tale, stage: &Stage, ana: &Connected, dice: &mut Dice) -> Result<Tablet, Trouble> {
    for host in ["ledger.demo", "qzx7.demo"] {
        if ana.application.page(host).await?.is_ok() {
            tale.promise(false, &format!("{host} is not to be reached"));
        }
    }
    tale.doing("signing in a second device of Ana's, with a modified client");
    second_device(stage).await?;
    let mut client = Modified::with_disk(&stage.org, &stage.dir.join("tablet"))?;
    let mut stream = client.stream().await?;
    let mut order: Vec<bool> = [true, false].into_iter().cycle().take(2 * TIMES).collect();
    dice.shuffle(&mut order);
    let (mut hidden, mut absent) = (Answers::default(), Answers::default());
    for (number, is_hidden) in order.into_iter().enumerate() {
        if number % 500 == 0 {
            tale.doing(&format!(
                "asking the broker for names it must not know of: {number} of {}",
                2 * TIMES
            ));
        }
        let (host, answers) =
            if is_hidden { ("ledger.demo", &mut hidden) } else { ("qzx7.demo", &mut absent) };
        let answer = stream.ask(name(host)?, Port::new(80).while_doing("port 80")?).await?;
        answers.texts.insert(answer.text);
        answers.times.push(answer.after);
    }
    tell_difference(tale, &hidden, &absent);
    Ok(Tablet { client, stream })
}

fn tell_difference(tale: &mut Tale, hidden: &Answers, absent: &Answers) {
    // Another refusal, which every question would get, says nothing.
    let is_absence = |text: &String| text.contains("\"not-found\"");
    let same = hidden.texts == absent.texts && hidden.texts.len() == 1 && hidden.texts.iter().all(is_absence);
    tale.promise(
        same,
        &format!(
            "ledger.demo exists and is hidden, qzx7.demo does not exist: the same {} bytes, {TIMES} times each",
            hidden.texts.first().map_or(0, String::len)
        ),
    );
    let slower = probability_slower(&hidden.times, &absent.times);
    let (low, high) = (slower - MARGIN, slower + MARGIN);
    tale.figure("p_hidden_slower", slower, "");
    tale.figure("p_hidden_slower_low", low, "");
    tale.figure("p_hidden_slower_high", high, "");
    tale.promise(
        low >= 0.45 && high <= 0.55,
        &format!(
            "and in the same time: P(hidden slower) is {slower:.3}, 95 % interval {low:.3} to {high:.3}"
        ),
    );
    tale.say(
        "By structure: the broker looks only in the session's own visible set, so for both it looks in the same \
         place and finds the same nothing.",
    );
}

/// Signs a second device in, which an enrolment token admits, and ends it: its session stays on its disk.
async fn second_device(stage: &Stage) -> Result<(), Trouble> {
    let doing = "admitting a second device";
    let token = Op::DeviceToken { person: Some(stage.ana.clone()), life_s: 60 };
    let Answer::Token { token, .. } = stage.ask(token).await? else {
        return Err(Trouble::new(doing, "the broker gives no token"));
    };
    write(&stage.dir.join("tablet.toml"), &stage.connector_config("tablet", "Ana's tablet"))?;
    let (org, config) = (stage.org.to_string(), stage.path("tablet.toml"));
    let args = ["sign-in", &org, "--config", &config, "--no-browser"];
    let token = [("OPENZTNA_ENROLMENT_TOKEN", token.expose().as_str())];
    let mut device = Process::start_with("tablet", &stage.dir, &args, &token).await?;
    let address =
        |line: &str| Some(line.trim()).filter(|line| line.starts_with("https://")).map(str::to_owned);
    let (_, address) = device.says(Duration::from_secs(10), address).await?;
    Browser::of(&stage.org)?.sign_in(&address, "ana", &stage.password).await?;
    if device.ended(Duration::from_secs(10)).await?.success() {
        Ok(())
    } else {
        Err(Trouble::new(doing, "see tablet.log"))
    }
}

/// A second device of Ana's, with a client that says what it likes.
pub(super) struct Tablet {
    pub(super) client: Modified,
    pub(super) stream: Stream,
}

/// Answers to one question, many times.
#[derive(Default)]
struct Answers {
    texts: BTreeSet<String>,
    times: Vec<Duration>,
}

/// The probability that one of `these` takes longer than one of `those` (Mann and Whitney, 1947); of equals, half
/// count.
fn probability_slower(these: &[Duration], those: &[Duration]) -> f64 {
    let mut those = those.to_vec();
    those.sort_unstable();
    let below = |time: &Duration| {
        let (less, equal) =
            (those.partition_point(|other| other < time), those.partition_point(|other| other <= time));
        (less + equal) as f64 / 2.0
    };
    these.iter().map(below).sum::<f64>() / (these.len() * those.len()).max(1) as f64
}

const TIMES: usize = 2_000;
/// 1.96 standard errors of that probability where both are alike: √((n + m + 1) / 12nm) with n = m = 2,000.
const MARGIN: f64 = 1.96 * 0.009_13;

#[cfg(test)]
mod tests {
    use ztna_model::millis;

    use super::*;

    #[test]
    fn who_is_slower() {
        let times = |range: std::ops::Range<u64>| range.map(millis).collect::<Vec<_>>();
        let rows = [
            (times(0..100), times(0..100), 0.5),
            (times(100..200), times(0..100), 1.0),
            (times(0..100), times(100..200), 0.0),
            (times(50..150), times(0..100), 0.875),
        ];
        for (these, those, expected) in rows {
            let found = probability_slower(&these, &those);
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }
}
