//! Told to stop, a process ends soon, in good order, and nothing of it is in the way of the next. Nor does a second one
//! get in the way of the first.

use std::time::Duration;

use ztna_model::secs;

use crate::process::{OPENZTNA, Process, run};
use crate::world::{World, broker_config, free_port};

#[tokio::test]
async fn whoever_is_told_to_stop_ends_within_two_seconds_and_starts_again() {
    let mut world = World::new().await;
    let mut ana = world.sign_in().await;
    world.reaches(&ana.proxy, "wiki.test").await;
    let _open = ana.proxy.stay("wiki.test").await;

    ana.process.terminate();
    assert_eq!(ana.process.ended(SOON).await.code(), Some(0), "{:?}", ana.process.written());
    let mut ana = world.connect().await;
    world.reaches(&ana.proxy, "wiki.test").await;
    let _open = ana.proxy.stay("wiki.test").await;
    ana.process.interrupt();
    assert_eq!(ana.process.ended(SOON).await.code(), Some(0), "{:?}", ana.process.written());

    let ana = world.connect().await;
    world.reaches(&ana.proxy, "wiki.test").await;
    let _open = ana.proxy.stay("wiki.test").await;
    world.gateway.terminate();
    assert_eq!(world.gateway.ended(SOON).await.code(), Some(0), "{:?}", world.gateway.written());
    world.start_gateway().await;
    world.reaches(&ana.proxy, "wiki.test").await;

    let _open = ana.proxy.stay("wiki.test").await;
    world.broker.terminate();
    assert_eq!(world.broker.ended(SOON).await.code(), Some(0), "{:?}", world.broker.written());
    world.start_broker().await;
    world.until_session_is_connected().await;
    world.reaches(&ana.proxy, "wiki.test").await;
}

#[tokio::test]
async fn a_connector_that_waits_for_the_browser_ends_when_it_is_told_to() {
    let world = World::new().await;
    let (org, config) = (world.org.to_string(), world.dir.text("ana.toml"));
    let mut process = Process::start(&["sign-in", &org, "--config", &config, "--no-browser"]);
    process.says(|line| line.trim().starts_with("https://").then_some(())).await;
    process.terminate();
    assert_eq!(process.ended(SOON).await.code(), Some(130), "{:?}", process.written());
    assert!(!world.dir.path("ana/connector.sock").exists());
}

#[tokio::test]
async fn a_second_one_in_the_same_directory_is_refused_and_says_so() {
    let world = World::new().await;
    let ana = world.sign_in().await;
    let same = world.dir.text("broker.toml");
    world.dir.write("other.toml", &broker_config(&world.dir, "broker", free_port(), free_port()));
    let other = world.dir.text("other.toml");
    let (gateway, connector) = (world.dir.text("gateway.toml"), world.dir.text("ana.toml"));
    let rows: [(&[&str], &str); 5] = [
        (&["broker", "--config", &same], "is in use by another process"),
        (&["broker", "--config", &other], "another broker runs in"),
        (&["gateway", "--config", &gateway], "another process is listening on"),
        (&["connect", "--config", &connector], "the connector runs already"),
        (&["sign-in", "--config", &connector], "the connector runs already"),
    ];
    for (args, expected) in rows {
        let said = run(OPENZTNA, args, "").await;
        assert_eq!(said.code, 1, "{args:?}: {}{}", said.out, said.err);
        assert!(said.err.contains(expected), "{args:?}: {}", said.err);
    }
    world.reaches(&ana.proxy, "wiki.test").await;
}

const SOON: Duration = secs(2);
