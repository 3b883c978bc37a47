use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use ztna_model::secs;
use ztna_net::clock::Clock;

use super::reach::because;
use crate::demo::stage::{Connected, Stage};
use crate::demo::tale::{Tale, in_words};
use crate::demo::trouble::Trouble;

pub(super) async fn play(tale: &mut Tale, stage: &Stage, ana: &Connected) -> Result<(), Trouble> {
    tale.chapter("Drift", "her device is no longer fit");
    let mut flow = ana.application.held("wiki.demo").await?;
    stage.simulate(&[("disk_encrypted", false), ("screen_lock", false)])?;
    let turned = Clock.now();
    stage.look_again("ana").await?;
    let mut rest = Vec::new();
    let cut = timeout(secs(10), flow.read_to_end(&mut rest)).await.is_ok();
    let after = Clock.now().since(turned);
    tale.span("cut_after_drift", after);
    tale.promise(
        cut && after <= BOUND,
        &format!(
            "her disk is no longer encrypted (a SIMULATED fact, marked on the wire): cut after {}",
            in_words(after)
        ),
    );
    match ana.application.page("wiki.demo").await? {
        Ok(_) => tale.promise(false, "the wiki is closed to a device that is not fit"),
        Err(problem) => {
            let helps = !problem.fixes.is_empty();
            tale.promise(helps, &format!("she is told what to mend. {}", because(&problem)));
        }
    }
    let marked = stage.status("ana").await?.snapshot.facts.iter().any(|fact| fact.simulated);
    tale.promise(marked, "what is simulated shows as simulated wherever it goes");
    stage.simulate(&[("disk_encrypted", true), ("screen_lock", false)])?;
    let mended = Clock.now();
    stage.look_again("ana").await?;
    let back = ana.application.until_reached("wiki.demo", secs(10)).await?.since(mended);
    tale.span("back_after_mending", back);
    tale.promise(true, &format!("mended: the wiki answers again after {}", in_words(back)));
    Ok(())
}

/// Sooner than a renewal would find out, which looks again at half of a lease's life.
const BOUND: Duration = secs(2);
