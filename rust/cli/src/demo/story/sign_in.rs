use ztna_api::admin::PolicyChange;
use ztna_connector::Snapshot;
use ztna_connector::posture;
use ztna_model::{FactKind, FactState, WallTime};
use ztna_net::clock::Clock;

use super::preview::preview;
use crate::demo::open_browser;
use crate::demo::stage::{Connected, SignIn, Stage};
use crate::demo::tale::{Tale, in_words};
use crate::demo::trouble::{Trouble, While as _};
use crate::table::Table;

pub(super) async fn play(tale: &mut Tale, stage: &Stage, browser: bool) -> Result<Connected, Trouble> {
    tale.chapter("Sign in", "Ana, from one string, through the real login page");
    tale.say(&format!("{}", stage.org));
    let ana = if browser {
        let open = |address: &str| {
            println!("   Sign in as ana with {} at\n   {address}", stage.password.expose());
            open_browser(address);
        };
        stage.connect("ana", SignIn::Person(&open)).await?
    } else {
        tale.doing("signing in");
        stage.connect("ana", SignIn::Agent).await?
    };
    tale.span("sign_in", ana.sign_in);
    tale.span("connect", ana.connect);
    tale.say(&format!(
        "Signed in after {} (authorization code, PKCE, a key of the device's own), connected {} later.",
        in_words(ana.sign_in),
        in_words(ana.connect)
    ));
    let limit = std::time::Duration::from_millis(500);
    tale.promise(ana.connect <= limit, &format!("connected within 500 ms: {}", in_words(ana.connect)));
    let snapshot = stage.status("ana").await?.snapshot;
    tale.lines(&facts(&snapshot, Clock.wall()));
    let known = snapshot.facts.iter().rfind(|fact| fact.state == FactState::Pass);
    let unknown = snapshot.facts.iter().filter(|fact| fact.state == FactState::Unknown);
    let (mut opened, mut kept_shut) = (false, true);
    if let Some(fact) = known {
        opened = would_open(stage, fact.kind).await?;
    }
    for fact in unknown {
        kept_shut &= !would_open(stage, fact.kind).await?;
    }
    tale.promise(
        opened && kept_shut && !snapshot.facts_are_preview,
        "the broker has graded what the device says; what is unknown never counts as good",
    );
    Ok(ana)
}

/// Whether a policy that asks for this fact and nothing else would let Ana's laptop, as it is, to the ledger.
async fn would_open(stage: &Stage, fact: FactKind) -> Result<bool, Trouble> {
    let text = format!(
        r#"permit (principal in Group::"staff", action == Action::"connect", resource == Resource::"ledger")
when {{ context.device.{fact}.state == "pass" }};"#
    );
    let change = PolicyChange::Put { policy: "ledger".parse().while_doing("naming a policy")?, text };
    let preview = preview(stage, change).await?;
    Ok(preview.gains.iter().any(|gain| gain.resource.as_str() == "ledger" && !gain.sessions.is_empty()))
}

/// The device's facts as a table.
fn facts(snapshot: &Snapshot, now: WallTime) -> String {
    let mut table = Table::new(&["fact", "state", "value", "tier", "age", "source"]);
    for fact in &snapshot.facts {
        let source = if fact.simulated { "SIMULATED for this demonstration" } else { fact.source.as_str() };
        table.row([
            posture::title(fact.kind).to_owned(),
            fact.state.to_string(),
            fact.value.as_ref().map(ToString::to_string).unwrap_or_default(),
            u8::from(fact.tier).to_string(),
            format!("{} s", now.since(fact.as_of).as_secs()),
            shortened(source),
        ]);
    }
    table.fitted(MARGIN)
}

fn shortened(source: &str) -> String {
    match source.char_indices().nth(LONGEST_SOURCE) {
        Some((end, _)) => format!("{}…", source.get(..end).unwrap_or_default()),
        None => source.to_owned(),
    }
}

const LONGEST_SOURCE: usize = 36;
/// How far the story is set in.
const MARGIN: usize = 3;
