use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::*;

/// Says where to write, to the process that is going to be killed.
const PLACE: &str = "ZTNA_BROKER_TEST_STORE";
const ACKNOWLEDGED: u64 = 50;

/// Does something only where `no_acknowledged_row_is_lost_to_a_kill` runs it in a process of its own.
#[test]
fn the_process_that_is_killed() {
    let Ok(place) = std::env::var(PLACE) else { return };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = sqlite(Path::new(&place)).await;
        for number in 1_u64.. {
            let text = number.to_string();
            let change = Change { edits: vec![put("last", &text)], ..lines(&[&text]) };
            store.write(&acme(), vec![change]).await.unwrap();
            println!("acknowledged {number}");
        }
    });
}

#[tokio::test]
async fn no_acknowledged_row_is_lost_to_a_kill() {
    let dir = TempDir::new();
    let place = dir.path("store");
    let mut expected = 0;
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["store::crash::the_process_that_is_killed", "--exact", "--nocapture"])
            .env(PLACE, &place)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let acknowledged = lines.map_while(Result::ok).filter(|line| line.contains("acknowledged"));
        assert_eq!(acknowledged.take(usize::try_from(ACKNOWLEDGED).unwrap()).count() as u64, ACKNOWLEDGED);
        child.kill().unwrap(); // SIGKILL, in the middle of a write
        child.wait().unwrap();
        expected += ACKNOWLEDGED;

        let store = sqlite(&place).await;
        let records = verified(&store, "broker-1").await;
        assert!(records.len() as u64 >= expected, "round {round}: {} of {expected}", records.len());
        let last = store.find(&acme(), "things", "last").await.unwrap().unwrap();
        assert_eq!(Some(&last.text), records.last(), "row and audit go together");
        expected = records.len() as u64;
        store.close().await;
    }
}
