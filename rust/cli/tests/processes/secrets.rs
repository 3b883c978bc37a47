//! What no log holds, however much is logged.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::person;
use crate::process::{PATIENCE, Process};
use crate::world::World;

#[tokio::test]
async fn g03_no_log_holds_a_secret_though_everything_is_logged() {
    let mut world = World::logging("trace").await;
    let mut logs = vec![("enrolment", std::fs::read_to_string(world.dir.path("enrol.log")).unwrap())];
    let mut ana = world.sign_in().await;
    world.reaches(&ana.proxy, "wiki.test").await;
    let mut secrets = vec![
        ("the account's password".to_owned(), world.password.clone()),
        ("the proxy's password".to_owned(), ana.proxy.password.clone()),
    ];
    secrets.extend(session(&world));
    // By the session on the disk: with a renewal.
    ana.process.terminate();
    ana.process.ended(PATIENCE).await;
    logs.push(("connector", ana.process.written().1));
    let ana = world.connect().await;
    world.reaches(&ana.proxy, "wiki.test").await;
    secrets.push(("the proxy's next password".to_owned(), ana.proxy.password.clone()));
    secrets.extend(session(&world));
    // By a token.
    let token = world.done(&["devices", "token", "--person", "ana"]).await.out.trim().to_owned();
    logs.push(("tablet", tablet(&world, &token).await));
    world.spent.push(token);
    let spent = world.spent.iter();
    secrets.extend(spent.map(|token| ("an enrolment token".to_owned(), secret_part(token).to_owned())));
    for dir in ["ana", "tablet", "gateway", "broker/keys"] {
        secrets.extend(keys(&world.dir.path(dir)));
    }
    logs.push(("connector, started again", ana.process.written().1));
    logs.push(("gateway", world.gateway.written().1));
    logs.push(("broker", world.broker.written().1));

    assert!(secrets.len() > 20, "{secrets:?}");
    for (log, text) in &logs {
        assert!(text.contains("DEBUG"), "much is logged of the {log}");
        for (name, secret) in &secrets {
            assert!(secret.len() >= 12, "{name} could stand there by chance");
            assert!(!text.contains(secret), "the log of the {log} holds {name}: {}", around(text, secret));
        }
        // A lease, a proof, a statement, an ID token: each is a JWS, and begins like this.
        assert!(!text.contains("eyJ"), "the log of the {log} holds a JWS: {}", around(text, "eyJ"));
    }
}

/// A second device of Ana's, which a token admits; returns what it logged.
async fn tablet(world: &World, token: &str) -> String {
    let config = std::fs::read_to_string(world.dir.path("ana.toml")).unwrap();
    world.dir.write("tablet.toml", &config.replace("/ana\"", "/tablet\""));
    let (org, config) = (world.org.to_string(), world.dir.text("tablet.toml"));
    let args =
        ["--log", "trace", "sign-in", &org, "--config", &config, "--no-browser", "--enrolment-token", token];
    let mut process = Process::start(&args);
    let page = process.says(|line| line.trim().strip_prefix("https://").map(str::to_owned)).await;
    person::sign_in(&world.org, &format!("https://{page}"), "ana", &world.password).await;
    assert!(process.ended(PATIENCE).await.success());
    // The address of the sign-in page is for the person, and no secret: it holds hashes alone.
    process.written().1
}

/// What the connector keeps of its session that opens something.
fn session(world: &World) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(world.dir.path("ana/session.json")).unwrap();
    let session: Value = serde_json::from_str(&text).unwrap();
    let secrets = ["refresh", "provider_refresh"].into_iter();
    secrets.filter_map(|name| Some((name.to_owned(), session[name].as_str()?.to_owned()))).collect()
}

/// The keys in a directory, in the ways in which bytes are written. What a P-256 or Ed25519 key in PKCS #8 has to hide
/// are 32 bytes of it; what surrounds them is the same in all keys, or public.
fn keys(dir: &Path) -> Vec<(String, String)> {
    let mut found = vec![];
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "key") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let hidden = match bytes.len() {
            0..=64 => bytes.as_slice(),
            65..=100 => &bytes[16..48],
            _ => &bytes[36..68],
        };
        let hex: String = hidden.iter().map(|byte| format!("{byte:02x}")).collect();
        // Without the first and last letters, which depend on what stands beside.
        let base64 = [STANDARD_NO_PAD.encode(hidden), URL_SAFE_NO_PAD.encode(hidden)];
        let listed = format!("{:?}", &hidden[..8]);
        for written in base64.into_iter().chain([hex, listed.trim_matches(['[', ']']).to_owned()]) {
            found.push((path.display().to_string(), written));
        }
    }
    found
}

/// `https://acme.example#sha256-…!SECRET`: what comes before is public.
fn secret_part(token: &str) -> &str {
    token.rsplit_once('!').map_or(token, |(_, secret)| secret)
}

fn around(text: &str, secret: &str) -> String {
    let line = text.lines().find(|line| line.contains(secret)).unwrap_or_default();
    line.chars().take(400).collect()
}
