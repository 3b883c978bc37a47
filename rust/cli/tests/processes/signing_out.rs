//! After a sign-out nothing of the session is on the disk, the broker knows of none, and the way back is a sign-in.

use crate::process::{OPENZTNA, PATIENCE, run, until};
use crate::world::World;

#[tokio::test]
async fn p3_7_signing_out_leaves_no_session_here_or_at_the_broker_and_the_way_back_is_a_sign_in() {
    let world = World::new().await;
    let mut ana = world.sign_in().await;
    world.reaches(&ana.proxy, "wiki.test").await;
    let refresh = refresh_token(&world);

    let said = run(OPENZTNA, &["sign-out", "--config", &world.dir.text("ana.toml")], "").await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(ana.process.ended(PATIENCE).await.code(), Some(3), "{:?}", ana.process.written());
    is_signed_out(&world, &refresh).await;
    world.sign_in().await;
}

#[tokio::test]
async fn p3_7_signing_out_works_without_a_connector_that_runs_and_without_a_broker() {
    let mut world = World::new().await;
    world.sign_in().await; // and is killed
    let refresh = refresh_token(&world);
    let said = run(OPENZTNA, &["sign-out", "--config", &world.dir.text("ana.toml")], "").await;
    assert_eq!(said.code, 0, "{}", said.err);
    is_signed_out(&world, &refresh).await;

    world.sign_in().await;
    let refresh = refresh_token(&world);
    world.broker.kill().await;
    let said = run(OPENZTNA, &["sign-out", "--config", &world.dir.text("ana.toml")], "").await;
    assert_eq!(said.code, 0, "{}", said.err);
    nothing_is_left(&world, &refresh);
}

async fn is_signed_out(world: &World, refresh: &str) {
    nothing_is_left(world, refresh);
    until("the broker knows of no session", || async {
        let sessions = world.json(&["sessions", "list"]).await;
        sessions["sessions"].as_array()?.is_empty().then_some(())
    })
    .await;
    let org = world.org.to_string();
    for command in ["connect", "sign-in"] {
        let args = [command, &org, "--config", &world.dir.text("ana.toml"), "--no-sign-in"];
        let said = run(OPENZTNA, &args, "").await;
        assert_eq!(said.code, 3, "{command}: {}{}", said.out, said.err);
    }
}

fn nothing_is_left(world: &World, refresh: &str) {
    for entry in std::fs::read_dir(world.dir.path("ana")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap_or_default(); // a socket cannot be read
        assert!(!path.ends_with("session.json"), "there is a session on the disk");
        assert!(!String::from_utf8_lossy(&bytes).contains(refresh), "{} holds the token", path.display());
    }
}

/// The token on the disk, by which the session would go on.
fn refresh_token(world: &World) -> String {
    let text = std::fs::read_to_string(world.dir.path("ana/session.json")).unwrap();
    let session: serde_json::Value = serde_json::from_str(&text).unwrap();
    session["refresh"].as_str().unwrap_or_else(|| panic!("there is a token in {text}")).to_owned()
}
