//! Copies of the store, and what a restore ends.

use std::path::PathBuf;

use ztna_api::admin::{Answer, Op};
use ztna_broker::admin::{LocalAnswer, LocalOp};
use ztna_broker::{HomeError, restore};
use ztna_model::Incarnation;

use crate::gate::Gate;
use crate::phone::Phone;
use crate::world::{PASSWORD, World};

async fn back_up(world: &World) -> PathBuf {
    let to = world.around().join("copy.sqlite");
    let answer = world.ask_local(LocalOp::BackUp { to: to.clone() }).await;
    assert!(matches!(answer, LocalAnswer::BackedUp { bytes } if bytes > 0));
    to
}

async fn incarnation(world: &World) -> Incarnation {
    let Answer::Status(status) = world.ask(Op::Status {}).await else { panic!() };
    status.incarnation
}

#[tokio::test]
async fn p1_6_a_restore_begins_another_life_and_ends_every_session() {
    let mut world = World::new().await;
    let ana = world.person("ana").await;
    world.wiki(&ana).await;
    let mut phone = Phone::of(&world, "ana").await;
    let gate = world.gateway("gw-1").await;
    let unused = world.gateway_token("gw-2").await;
    let before = incarnation(&world).await;
    let copy = back_up(&world).await;
    world.person("bo").await; // after the copy
    let (config, kept) = (world.config.clone(), copy.clone());
    let running = restore(&config, &kept).await;
    assert!(matches!(running, Err(HomeError::Taken(_))), "not under a broker that runs: {running:?}");
    world.stop().await;

    let restored = restore(&world.config, &copy).await.unwrap();
    assert!(restored.replaced.is_some_and(|aside| aside.exists()), "what was there is put aside");
    world.start().await;
    assert_eq!(incarnation(&world).await, restored.incarnation);
    assert_ne!(restored.incarnation, before);

    let refresh = phone.tokens().refresh.clone();
    assert!(phone.renew(refresh).await.is_err(), "every session is over");
    let Answer::Sessions { sessions } = world.ask(Op::Sessions {}).await else { panic!() };
    assert_eq!(sessions, []);
    let (status, _) = Gate::new().enrol(&world, &unused).await;
    assert_eq!(status, 403, "a single-use token may have been used since the copy");
    assert!(phone.sign_in(&world, "bo", PASSWORD).await.is_err(), "bo came later");

    phone.sign_in(&world, "ana", PASSWORD).await.unwrap();
    let mut stream = gate.connect(&world).await;
    assert_eq!(stream.listed().await, []);
    let mut device = phone.ready(&world).await;
    device.ask(1, "wiki.demo").await;
    assert_eq!(stream.takes().await.incarnation, restored.incarnation);

    let log = world.ask_local(LocalOp::AuditVerify { writer: None, witness: None }).await;
    assert!(matches!(log, LocalAnswer::Verified { .. }));
    let LocalAnswer::Lines { lines, .. } =
        world.ask_local(LocalOp::AuditExport { writer: None, after: 0 }).await
    else {
        panic!()
    };
    let life = restored.incarnation.to_string();
    assert!(lines.iter().any(|line| line.contains("\"restored\"") && line.contains(&life)), "it is audited");
}

#[tokio::test]
async fn p1_6_copies_that_are_not_restored_leave_everything_as_it_was() {
    let mut world = World::new().await;
    world.person("ana").await;
    let mut phone = Phone::of(&world, "ana").await;
    let copy = back_up(&world).await;
    world.stop().await;
    let tampered = world.around().join("tampered.sqlite");
    std::fs::copy(&copy, &tampered).unwrap();
    {
        use sqlx::Connection as _;
        let place = format!("sqlite://{}", tampered.display());
        let mut connection = sqlx::SqliteConnection::connect(&place).await.unwrap();
        sqlx::query("UPDATE audit SET record = '{}' WHERE number = 2")
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }
    let foreign = {
        let other = World::new().await;
        back_up(&other).await;
        std::fs::copy(other.around().join("copy.sqlite"), world.around().join("foreign.sqlite")).unwrap();
        world.around().join("foreign.sqlite")
    };
    let garbage = world.around().join("garbage.sqlite");
    std::fs::write(&garbage, "no database").unwrap();
    let rows = [
        ("a log that does not hold", tampered, "row 2 was changed"),
        ("another organisation", foreign, "the back-up holds nothing of"),
        ("no database", garbage, "cannot open the store"),
        ("nothing", world.around().join("nothing"), "No such file"),
    ];
    for (what, path, expected) in rows {
        let error = restore(&world.config, &path).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{what}: {error}");
    }
    world.start().await;
    let refresh = phone.tokens().refresh.clone();
    phone.renew(refresh).await.unwrap();
}
