use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use reqwest::Method;
use ztna_api::admin::{Op, Site};
use ztna_api::device::Wanted;
use ztna_api::gateway::{LeaseError, Offered, Welcome};
use ztna_api::token::{TOKEN_PATH, TokenErrorCode};
use ztna_gateway::LeaseFile;
use ztna_model::{EndReason, PolicyId, Port, millis, secs};
use ztna_net::clock::Clock;

use super::dark::{Probe, heard};
use super::reach::Tablet;
use crate::demo::application::Reached;
use crate::demo::dice::Dice;
use crate::demo::modified::{Modified, Stream};
use crate::demo::process::Process;
use crate::demo::stage::{Connected, SignIn, Stage, enrol_gateway, new_gateway, quoted, resource, write};
use crate::demo::tale::{Tale, in_words};
use crate::demo::trouble::{Trouble, While as _};
use crate::demo::turncoat::Turncoat;

/// Plays the chapter; Ana signs in anew in it, so another connector of hers comes back.
pub(super) async fn play(
    tale: &mut Tale,
    stage: &Stage,
    ana: Connected,
    mut tablet: Tablet,
    dice: &mut Dice,
) -> Result<Connected, Trouble> {
    tale.chapter("Steal", "you are Mallory, and have what was Ana's");
    elsewhere(tale, stage).await?;
    replayed(tale, &mut tablet.client).await?;
    lease(tale, stage, &ana).await?;
    handshake(tale, stage).await?;
    neighbours(tale, stage, &ana, &mut tablet.stream, dice).await?;
    drop(tablet);
    tale.say(
        "Now Mallory has Ana's whole disk, device key and all. On a phone the key cannot leave its chip;",
    );
    tale.say(
        "on this machine it is a file, so the copy passes for Ana's laptop until both of them are there.",
    );
    awake(tale, stage, ana).await?;
    let ana = stage.connect("ana", SignIn::Agent).await?;
    asleep(tale, stage, ana).await?;
    stage.connect("ana", SignIn::Agent).await
}

/// Her refresh token, with a key of his own.
async fn elsewhere(tale: &mut Tale, stage: &Stage) -> Result<(), Trouble> {
    let thief = Modified::with_disk(&stage.org, &stage.dir.join("ana"))?.with_key_of_its_own()?;
    let proof = thief.proof(&Method::POST, TOKEN_PATH, None).await?;
    match thief.refresh(&thief.loot.refresh, &proof).await? {
        Ok(_) => tale.promise(false, "her refresh token is of no use without her device's key"),
        Err(refusal) => {
            let why = refusal.error_description.unwrap_or_default();
            tale.promise(
                why.contains("another key"),
                &format!("her refresh token without her device's key: refused, \"{why}\""),
            );
        }
    }
    Ok(())
}

/// A request of one of her devices, sent once more as it was.
async fn replayed(tale: &mut Tale, tablet: &mut Modified) -> Result<(), Trouble> {
    let proof = tablet.proof(&Method::POST, TOKEN_PATH, None).await?;
    let token = tablet.loot.refresh.clone();
    match tablet.refresh(&token, &proof).await? {
        Ok(tokens) => tablet.loot.refresh = tokens.refresh_token,
        Err(refusal) => {
            return Err(Trouble::new("renewing the tablet's tokens", format!("{:?}", refusal.error)));
        }
    }
    match tablet.refresh(&token, &proof).await? {
        Ok(_) => tale.promise(false, "a request that is sent again is refused"),
        Err(refusal) => {
            let why = refusal.error_description.unwrap_or_default();
            tale.promise(
                refusal.error == TokenErrorCode::InvalidDpopProof,
                &format!("a recorded request of hers, sent again: refused, \"{why}\""),
            );
        }
    }
    Ok(())
}

/// A gateway of another site is Mallory's: he keeps the lease that it is offered for Ana, and shows it to a third one.
async fn lease(tale: &mut Tale, stage: &Stage, ana: &Connected) -> Result<(), Trouble> {
    let doing = "stealing a lease";
    tale.doing(doing);
    let mut admin = stage.admin().await?;
    let site = Site { id: "annex".parse().while_doing(doing)?, title: "Annex".into() };
    admin.ask(Op::SitePut { site }).await.while_doing(doing)?;
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let resource = resource("annex", nowhere, "annex")?;
    admin.ask(Op::ResourcePut { resource }).await.while_doing(doing)?;
    let policy: PolicyId = "annex".parse().while_doing(doing)?;
    admin.ask(Op::PolicyPut { policy: policy.clone(), text: ANNEX.into() }).await.while_doing(doing)?;
    let token = new_gateway(&mut admin, "annex-1", "annex").await?;
    let state = quoted(&stage.dir.join("annex"));
    write(&stage.dir.join("annex.toml"), &format!("state_dir = {state}\n"))?;
    enrol_gateway(&stage.dir, "annex", &token).await?;
    let mut turncoat = Turncoat::with_disk(&stage.org, &stage.dir.join("annex")).await?;
    let application = ana.application.clone();
    let asking = tokio::spawn(async move { application.connect("annex.demo", 80).await.map(drop) });
    let stolen = turncoat.lease().await?;
    asking.abort();
    let refused = shown_to_another(stage, &turncoat, stolen).await?;
    tale.promise(
        refused == Some(LeaseError::WrongGateway),
        &format!(
            "a lease of hers, stolen from one gateway and shown to another: refused, \"{}\"",
            refused.map(|code| code.to_string()).unwrap_or_default()
        ),
    );
    admin.ask(Op::PolicyRemove { policy }).await.while_doing(doing)?;
    admin
        .ask(Op::ResourceRemove { resource: "annex".parse().while_doing(doing)? })
        .await
        .while_doing(doing)?;
    Ok(())
}

/// Starts a third gateway, which takes leases from a signed file, and says why it declines this one.
async fn shown_to_another(
    stage: &Stage,
    turncoat: &Turncoat,
    stolen: Offered,
) -> Result<Option<LeaseError>, Trouble> {
    let doing = "showing a stolen lease to another gateway";
    let Welcome { keys, incarnation, .. } = turncoat.welcome.clone();
    let file = LeaseFile { keys, incarnation, leases: vec![stolen] };
    let text = serde_json::to_string(&file).while_doing(doing)?;
    let path = stage.dir.join("stolen.json");
    ztna_net::fs::write_private(&path, text.as_bytes()).while_doing(doing)?;
    let state = stage.dir.join("outpost");
    let config = format!(
        "org = \"{}\"\nstate_dir = {}\n\n[udp]\nbind = \"loopback\"\n\n[leases]\nfile = {}\ngateway = \"outpost-1\"\n",
        stage.org,
        quoted(&state),
        quoted(&path)
    );
    write(&stage.dir.join("outpost.toml"), &config)?;
    let config = stage.path("outpost.toml");
    let mut outpost = Process::start("outpost", &stage.dir, &["gateway", "--config", &config]).await?;
    let give_up = Clock.now() + secs(5);
    let declined = loop {
        let status = ztna_gateway::status::status(&state).await;
        let declined = status.ok().and_then(|status| status.plane.declined.into_iter().next());
        if declined.is_some() || Clock.now() > give_up {
            break declined;
        }
        tokio::time::sleep(millis(10)).await;
    };
    outpost.stop().await;
    Ok(declined.map(|(code, _)| code))
}

/// A handshake with a key that no lease names, while Ana's own tunnel is up.
async fn handshake(tale: &mut Tale, stage: &Stage) -> Result<(), Trouble> {
    let probe = Probe::of(stage).await?;
    let before = heard(stage).await?;
    let back = probe.send(&[probe.initiation()?], millis(300)).await?;
    let came_in = heard(stage).await? > before;
    tale.promise(
        back == 0 && came_in,
        &format!("a WireGuard handshake with a key of his own, while Ana's tunnel is up: {back} bytes back"),
    );
    Ok(())
}

/// From her own machine, by her own proxy, and by asking the broker directly.
async fn neighbours(
    tale: &mut Tale,
    stage: &Stage,
    ana: &Connected,
    tablet: &mut Stream,
    dice: &mut Dice,
) -> Result<(), Trouble> {
    tale.doing("scanning the wiki's neighbours");
    let status = stage.gateway_status().await?;
    let flows = status.plane.flows;
    let (mut tried, mut open) = (0, 0);
    let mut reasons = BTreeMap::<String, usize>::new();
    for _ in 0..SCANNED {
        let (host, port) = match dice.below(3) {
            0 => ("wiki.demo".to_owned(), 1 + u16::try_from(dice.below(79)).unwrap_or(0)),
            1 => (format!("10.0.0.{}", dice.below(256)), 22),
            _ => ("127.0.0.1".to_owned(), 1_024 + u16::try_from(dice.below(60_000)).unwrap_or(0)),
        };
        tried += 1;
        match ana.application.connect(&host, port).await? {
            Reached::Open(_) => open += 1,
            Reached::Denied(problem) => *reasons.entry(problem.title).or_default() += 1,
        }
    }
    // A client that does not ask itself first: the broker, and not her own connector, says no.
    let port = Port::new(80).while_doing("port 80")?;
    for number in 0..SCANNED {
        let address = Ipv4Addr::new(127, 0, 0, u8::try_from(1 + number).unwrap_or(1));
        let answer = tablet.ask(Wanted::Address(address.into()), port).await?;
        tried += 1;
        open += usize::from(!answer.text.contains("\"refused\""));
    }
    let after = stage.gateway_status().await?.plane.flows;
    let reasons: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{count} × \"{reason}\"")).collect();
    tale.figure("neighbours_tried", tried as f64, "tries");
    tale.promise(
        open == 0 && after <= flows,
        &format!(
            "a scan of the neighbours, {tried} ports and addresses: {open} open; {}",
            reasons.join(", ")
        ),
    );
    Ok(())
}

/// A copy of her disk, while her laptop is awake.
async fn awake(tale: &mut Tale, stage: &Stage, mut ana: Connected) -> Result<(), Trouble> {
    tale.doing("copying Ana's disk while her laptop is awake");
    let began = Clock.now();
    let mut mallory = mallory(stage).await?;
    let (ended, why) = ana.process.signed_out(secs(20)).await?;
    let (his_end, _) = mallory.signed_out(secs(20)).await?;
    let seen = ended.max(his_end).since(began);
    tale.span("clone_seen_awake", seen);
    tale.promise(
        why == EndReason::Cloned.sentence(),
        &format!(
            "her whole disk, while she is awake: seen {} after Mallory starts, both ended. She reads: \"{why}\"",
            in_words(seen)
        ),
    );
    Ok(())
}

/// A copy of her disk, while her laptop sleeps.
async fn asleep(tale: &mut Tale, stage: &Stage, mut ana: Connected) -> Result<(), Trouble> {
    tale.doing("copying Ana's disk while her laptop sleeps");
    ana.process.pause();
    let mut mallory = mallory(stage).await?;
    let began = Clock.now();
    mallory.says(secs(15), |line| line.starts_with("Connected to").then_some(())).await?;
    let inside = Clock.now().since(began);
    tale.say(&format!(
        "While her laptop sleeps it cannot be asked: after {} the copy is let in. It is seen when she wakes;",
        in_words(inside)
    ));
    tale.say("until then it has what she has, is checked as she is, and ends with her session or a hold.");
    ana.process.resume();
    let woke = Clock.now();
    let (ended, why) = ana.process.signed_out(secs(20)).await?;
    let (his_end, _) = mallory.signed_out(secs(20)).await?;
    let seen = ended.max(his_end).since(woke);
    tale.span("clone_seen_after_waking", seen);
    tale.promise(
        why == EndReason::Cloned.sentence(),
        &format!("her whole disk, while she sleeps: seen {} after she wakes, both ended", in_words(seen)),
    );
    Ok(())
}

/// A connector with a copy of all that lies in Ana's directory.
async fn mallory(stage: &Stage) -> Result<Process, Trouble> {
    stage.copy_disk("ana", "mallory")?;
    write(&stage.dir.join("mallory.toml"), &stage.connector_config("mallory", "Ana's laptop"))?;
    let (org, config) = (stage.org.to_string(), stage.path("mallory.toml"));
    Process::start("mallory", &stage.dir, &["connect", &org, "--config", &config, "--no-browser", "--proxy"])
        .await
}

const SCANNED: usize = 60;
const ANNEX: &str = r#"permit (principal in Group::"staff", action in [Action::"see", Action::"connect"],
    resource == Resource::"annex");"#;
