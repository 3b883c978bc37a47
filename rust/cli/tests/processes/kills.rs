//! Each of the three ends as in a power cut (SIGKILL) and starts again: access comes back without a sign-in, and what was
//! taken away meanwhile stays taken.

use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::application::Proxy;
use crate::process::{PATIENCE, until};
use crate::world::{WIKI, World};

#[tokio::test]
async fn a_gateway_that_is_killed_and_restarted_gives_access_again_without_a_sign_in() {
    let mut world = World::new().await;
    let ana = world.sign_in().await;
    let session = world.until_session_is_connected().await;
    let mut open = ana.proxy.stay("wiki.test").await;
    world.gateway.kill().await;
    world.start_gateway().await;
    world.until_reached(&ana.proxy, "wiki.test").await;
    world.until_reached(&ana.proxy, "board.test").await;
    assert_eq!(world.until_session_is_connected().await, session);
    let ended = timeout(PATIENCE, open.read_u8()).await.expect("it ends");
    assert!(ended.is_err(), "what went through the old run ends with it");
}

#[tokio::test]
async fn a_broker_that_is_killed_and_restarted_gives_access_again_without_a_sign_in() {
    let mut world = World::new().await;
    let ana = world.sign_in().await;
    let session = world.until_session_is_connected().await;
    world.reaches(&ana.proxy, "wiki.test").await;
    world.broker.kill().await;
    let (status, _) = ana.proxy.get("board.test").await;
    assert_ne!(status, 200, "nobody was there to grant it");
    // What was granted ends with its lease: there is nobody who would renew it.
    until("the wiki's lease is over", || async { (ana.proxy.get("wiki.test").await.0 != 200).then_some(()) })
        .await;
    world.start_broker().await;
    world.until_reached(&ana.proxy, "wiki.test").await;
    world.until_reached(&ana.proxy, "board.test").await;
    assert_eq!(world.until_session_is_connected().await, session);
}

#[tokio::test]
async fn a_connector_that_is_killed_and_restarted_gives_access_again_without_a_sign_in() {
    let world = World::new().await;
    let mut ana = world.sign_in().await;
    let session = world.until_session_is_connected().await;
    world.reaches(&ana.proxy, "wiki.test").await;
    ana.process.kill().await;
    for _ in 0..3 {
        ana = world.connect().await;
        world.reaches(&ana.proxy, "wiki.test").await;
        world.reaches(&ana.proxy, "board.test").await;
        ana.process.kill().await;
    }
    let _ana = world.connect().await;
    assert_eq!(world.until_session_is_connected().await, session);
}

#[tokio::test]
async fn p3_6_a_person_held_while_their_connector_is_gone_stays_denied_after_every_restart() {
    let mut world = World::new().await;
    let mut ana = world.sign_in().await;
    world.reaches(&ana.proxy, "wiki.test").await;
    ana.process.kill().await;
    world.done(&["holds", "place", "person:Ana", "--reason", "reported lost"]).await;
    let mut ana = world.connect().await;
    is_denied(&world, &ana.proxy).await;
    world.broker.kill().await;
    world.start_broker().await;
    world.until_session_is_connected().await;
    is_denied(&world, &ana.proxy).await;
    world.gateway.kill().await;
    world.start_gateway().await;
    is_denied(&world, &ana.proxy).await;
    ana.process.kill().await;
    let ana = world.connect().await;
    is_denied(&world, &ana.proxy).await;
    assert_eq!(world.admin(&["policies", "test", "ana", "wiki"]).await.code, 2);
}

async fn is_denied(world: &World, proxy: &Proxy) {
    world.until_state(&["needs-attention"]).await;
    for host in ["wiki.test", "board.test"] {
        let (status, answer) = proxy.get(host).await;
        assert_eq!(status, 403, "{answer}");
    }
}

#[tokio::test]
async fn a_hold_placed_while_the_gateway_is_gone_is_in_force_when_it_is_back() {
    let mut world = World::new().await;
    let ana = world.sign_in().await;
    world.reaches(&ana.proxy, "wiki.test").await;
    world.gateway.kill().await;
    world.done(&["holds", "place", "resource:wiki", "--reason", "under repair"]).await;
    world.start_gateway().await;
    world.until_reached(&ana.proxy, "board.test").await;
    assert_ne!(ana.proxy.get("wiki.test").await.0, 200);
    world.broker.kill().await;
    world.start_broker().await;
    world.until_session_is_connected().await;
    world.gateway_is_back().await;
    world.until_reached(&ana.proxy, "board.test").await;
    assert_ne!(ana.proxy.get("wiki.test").await.0, 200);
}

#[tokio::test]
async fn a_policy_removed_while_connector_or_gateway_are_gone_grants_nothing_after_restarts() {
    let mut world = World::new().await;
    let mut ana = world.sign_in().await;
    world.reaches(&ana.proxy, "wiki.test").await;
    world.gateway.kill().await;
    ana.process.kill().await;
    world.done(&["policies", "remove", "wiki"]).await;
    world.start_gateway().await;
    let mut ana = world.connect().await;
    world.until_reached(&ana.proxy, "board.test").await;
    assert_eq!(ana.proxy.get("wiki.test").await.0, 403);
    for round in 0..2 {
        if round == 0 {
            world.broker.kill().await;
            world.start_broker().await;
        } else {
            ana.process.kill().await;
            ana = world.connect().await;
        }
        world.until_session_is_connected().await;
        world.gateway_is_back().await;
        world.until_reached(&ana.proxy, "board.test").await;
        assert_eq!(ana.proxy.get("wiki.test").await.0, 403);
    }
    world.put_policy("wiki", WIKI).await;
    world.until_reached(&ana.proxy, "wiki.test").await;
}
