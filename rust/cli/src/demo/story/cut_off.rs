use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use ztna_connector::State;
use ztna_model::{millis, secs};
use ztna_net::clock::Clock;

use crate::demo::stage::{Connected, LEASE_S, Stage};
use crate::demo::tale::{Tale, in_words};
use crate::demo::trouble::{Trouble, While as _};

pub(super) async fn play(tale: &mut Tale, stage: &mut Stage, ana: &Connected) -> Result<(), Trouble> {
    tale.chapter("Cut off", "the broker is gone");
    let mut flow = ana.application.held("wiki.demo").await?;
    let sid = stage.status("ana").await?.snapshot.sid;
    stage.broker.kill().await;
    let killed = Clock.now();
    tale.doing(&format!(
        "waiting for the lease to run out: {LEASE_S} s in this demonstration, 120 s as a rule"
    ));
    let mut rest = Vec::new();
    let closed = timeout(secs(LEASE_S + 5), flow.read_to_end(&mut rest)).await.is_ok();
    let after = Clock.now().since(killed);
    tale.span("closed_after_broker_died", after);
    tale.promise(
        closed && after <= secs(LEASE_S) + millis(500),
        &format!(
            "the broker is killed: the flow ends by itself after {}, within its lease of {LEASE_S} s",
            in_words(after)
        ),
    );
    tale.doing("starting the broker again");
    stage.restart_broker().await?;
    let back = Clock.now();
    let reached = ana.application.until_reached("wiki.demo", secs(30)).await.while_doing("coming back")?;
    let status = stage.status("ana").await?.snapshot;
    tale.span("back_after_broker_returned", reached.since(back));
    tale.promise(
        status.sid == sid && status.state == State::Connected,
        &format!(
            "it is started again: Ana is back after {}, in the same session, without a sign-in",
            in_words(reached.since(back))
        ),
    );
    Ok(())
}
