//! The audit log of a broker at work: what is in it, how tampering with it is found, and how people's texts leave it.

use sqlx::{Connection as _, SqliteConnection};
use ztna_api::admin::{Answer, HoldTarget, Op};
use ztna_broker::admin::{CallError, LocalAnswer, LocalOp};
use ztna_broker::audit::{Log, verify_export};
use ztna_broker::keys::KeyRing;
use ztna_model::PublicKey;
use ztna_net::clock::Clock;

use crate::phone::Phone;
use crate::world::World;

const SECRET: &str = "Zaphod took it to Magrathea";

/// A broker whose log has a life in it.
async fn lived() -> World {
    let world = World::new().await;
    let ana = world.person("ana").await;
    world.wiki(&ana).await;
    let phone = Phone::of(&world, "ana").await;
    let hold =
        Op::HoldPlace { target: HoldTarget::Session(phone.tokens().sid), reason: SECRET.into(), until: None };
    let Answer::Revoked(revoked) = world.ask(hold).await else { panic!() };
    world.ask(Op::HoldLift { hold: revoked.hold.unwrap() }).await;
    world
}

async fn change(world: &World, statement: &'static str) {
    let place = format!("sqlite://{}", world.state("store.sqlite").display());
    let mut connection = SqliteConnection::connect(&place).await.unwrap();
    let done = sqlx::query(statement).execute(&mut connection).await.unwrap();
    assert!(done.rows_affected() > 0, "{statement}");
    connection.close().await.unwrap();
}

async fn verify(world: &World, witness: Option<String>) -> Result<(u64, String), String> {
    match world.admin().await.ask_local(LocalOp::AuditVerify { writer: None, witness }).await {
        Ok(LocalAnswer::Verified { length, head, .. }) => Ok((length, head)),
        Err(CallError::Refused(error)) => Err(error.to_string()),
        other => panic!("{other:?}"),
    }
}

/// The log as it is exported.
async fn export(world: &World) -> Vec<String> {
    let (mut lines, mut next) = (vec![], Some(0));
    while let Some(after) = next {
        let page = world.ask_local(LocalOp::AuditExport { writer: None, after }).await;
        let LocalAnswer::Lines { lines: more, next: further } = page else { panic!() };
        lines.extend(more);
        next = further;
    }
    lines
}

#[tokio::test]
async fn p8_what_happened_is_in_the_log_and_the_log_holds() {
    let world = lived().await;
    let (length, head) = verify(&world, None).await.unwrap();
    let lines = export(&world).await;
    for event in [
        "organisation-made",
        "account-add",
        "person-invited",
        "provider-signed-in",
        "session-opened",
        "policy-put",
        "hold-placed",
        "hold-lifted",
        "audit-verify",
        "audit-export",
    ] {
        assert!(lines.iter().any(|line| line.contains(&format!("\"{event}\""))), "{event}");
    }
    let record = |line: &String| line.split_once(r#","record":"#).map(|(_, record)| record.to_owned());
    for record in lines.iter().filter_map(record) {
        assert!(
            !record.contains("ANA") && !record.contains(SECRET),
            "people are known by pseudonym: {record}"
        );
    }
    let keys = KeyRing::open(&world.state("keys"), &world.org.org, Clock.wall()).unwrap();
    let keys: Vec<PublicKey> = keys.audit_keys().copied().collect();
    let log = Log { org: &world.org.org, writer: "broker-1", keys: &keys };
    let end = verify_export(&lines.join("\n"), log, Some(&head)).unwrap();
    assert!(end.length > length, "the export holds for the witness of before as well");
}

#[tokio::test]
async fn h05_tampering_with_the_file_is_found_and_its_row_named() {
    let rows = [
        (
            "a record",
            "UPDATE audit SET record = replace(record, '\"event\"', '\"Event\"') WHERE number = 3",
            "row 3 was changed",
        ),
        ("a hash", "UPDATE audit SET hash = zeroblob(32) WHERE number = 4", "row 4 was changed"),
        ("a row in the middle", "DELETE FROM audit WHERE number = 5", "row 5 is missing: row 6"),
        ("the first rows", "DELETE FROM audit WHERE number < 3", "row 1 is missing: row 3"),
        (
            "what a row says of a person",
            "UPDATE audit SET personal = replace(personal, 'Zaphod', 'Arthur') WHERE personal LIKE '%Zaphod%'",
            "says something else of people",
        ),
        ("the end", "DELETE FROM audit WHERE number > 6", "the log ends after row"),
        (
            "the last row, on which others follow",
            "DELETE FROM audit WHERE number = (SELECT max(number) FROM audit)",
            "history was written anew",
        ),
    ];
    for (what, statement, expected) in rows {
        let mut world = lived().await;
        world.stop().await;
        change(&world, statement).await;
        world.start().await;
        for _ in 0..2 {
            let error = verify(&world, None).await.unwrap_err();
            assert!(error.contains(expected), "{what}: {error}");
            world.stop().await; // starting again covers nothing up
            world.start().await;
        }
    }
}

#[tokio::test]
async fn h05_a_log_that_was_cut_off_is_alarmed_of_and_the_evidence_stays() {
    let mut world = lived().await;
    world.stop().await;
    let head = std::fs::read_to_string(world.state("audit-head.jws")).unwrap();
    change(&world, "DELETE FROM audit WHERE number > (SELECT max(number) - 3 FROM audit)").await;
    world.start().await;
    let alarmed = |alarms: &[(ztna_model::WallTime, String)]| {
        alarms.iter().any(|(_, words)| words.contains("the audit log does not hold"))
    };
    loop {
        let LocalAnswer::Alarms { alarms } = world.ask_local(LocalOp::Alarms {}).await else { panic!() };
        if alarmed(&alarms) {
            break;
        }
        tokio::time::sleep(ztna_model::millis(5)).await;
    }
    world.stop().await;
    assert_eq!(std::fs::read_to_string(world.state("audit-head.jws")).unwrap(), head);
}

#[tokio::test]
async fn h05_a_witness_finds_a_log_that_began_again() {
    let mut world = lived().await;
    let (_, witness) = verify(&world, None).await.unwrap();
    world.stop().await;
    change(&world, "DELETE FROM audit").await;
    std::fs::remove_file(world.state("audit-head.jws")).unwrap();
    world.start().await;
    assert!(verify(&world, None).await.is_ok(), "without a witness nobody can tell");
    let error = verify(&world, Some(witness)).await.unwrap_err();
    assert!(error.contains("the log ends after row"), "{error}");
}

#[tokio::test]
async fn p8_a_text_that_is_erased_is_in_no_file_and_the_log_still_holds() {
    let world = lived().await;
    let (_, witness) = verify(&world, None).await.unwrap();
    let file = |name: &str| std::fs::read(world.state(name)).unwrap_or_default();
    let somewhere = || {
        let bytes = [file("store.sqlite"), file("store.sqlite-wal")].concat();
        bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
    };
    assert!(somewhere());
    let erased = world.ask_local(LocalOp::AuditErase { text: SECRET.into() }).await;
    assert_eq!(erased, LocalAnswer::Erased { rows: 1 });
    assert!(!somewhere(), "nor in what is free");
    assert!(!export(&world).await.iter().any(|line| line.contains(SECRET)));
    verify(&world, Some(witness)).await.unwrap();
}
