//! What an administrator read as done is in the log, however the broker ended.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;
use ztna_api::admin::{Answer, Group, Op};
use ztna_broker::admin::Client;

use crate::process::{OPENZTNA, run, until};
use crate::world::World;

#[tokio::test]
async fn p8_no_row_is_lost_that_an_administrator_read_as_done_before_the_broker_was_killed() {
    let mut world = World::new().await;
    let mut done = BTreeSet::new();
    for round in 0..3 {
        done.extend(ask_until_it_is_killed(&mut world, round).await);
        world.start_broker().await;
    }
    let (socket, file) = (world.dir.text("broker/admin.sock"), world.dir.text("audit.jsonl"));
    let exported = run(OPENZTNA, &["audit", "--socket", &socket, "export", "--to", &file], "").await;
    assert_eq!(exported.code, 0, "{}", exported.err);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it names people");
    let log = std::fs::read_to_string(&file).unwrap();
    let rows: BTreeSet<String> = log.lines().filter_map(group_put).collect();
    let lost: Vec<&String> = done.difference(&rows).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), done.len());

    let groups = world.json(&["groups", "list"]).await;
    let there =
        groups["groups"].as_array().unwrap().iter().map(|group| group["id"].as_str().unwrap().to_owned());
    let there: BTreeSet<String> = there.collect();
    assert!(done.is_subset(&there), "what was done is there as well");

    let verified = run(OPENZTNA, &["audit", "--socket", &socket, "verify"], "").await;
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
    let checked = run(OPENZTNA, &["audit", "check", &file, "--org", &world.org.to_string()], "").await;
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);
}

/// Administrators make groups until the broker is killed among their requests; returns those that were made by its word.
async fn ask_until_it_is_killed(world: &mut World, round: usize) -> BTreeSet<String> {
    let socket = world.dir.path("broker/admin.sock");
    let answered = Arc::new(AtomicUsize::new(0));
    let mut administrators = JoinSet::new();
    for administrator in 0..ADMINISTRATORS {
        let (socket, answered) = (socket.clone(), Arc::clone(&answered));
        administrators.spawn(async move {
            let mut broker = Client::connect(&socket).await.unwrap();
            let mut done = BTreeSet::new();
            for number in 0.. {
                let id = format!("g-{round}-{administrator}-{number}");
                let group = Group { id: id.parse().unwrap(), title: id.clone(), claims: Default::default() };
                let Ok(Answer::Done {}) = broker.ask(Op::GroupPut { group }).await else { break };
                done.insert(id);
                answered.fetch_add(1, Ordering::Relaxed);
            }
            done
        });
    }
    until("requests are answered", || async { (answered.load(Ordering::Relaxed) >= ENOUGH).then_some(()) })
        .await;
    world.broker.kill().await;
    administrators.join_all().await.into_iter().flatten().collect()
}

/// The group that a row of the log says was made.
fn group_put(line: &str) -> Option<String> {
    let row: serde_json::Value = serde_json::from_str(line).unwrap();
    let record = &row["record"];
    (record["op"] == "group-put").then(|| record["about"].as_str().map(str::to_owned))?
}

const ADMINISTRATORS: usize = 8;
const ENOUGH: usize = 100;
