use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use ztna_api::admin::{Answer, HoldTarget, Op};
use ztna_model::{DenyReason, Time, millis, secs};
use ztna_net::clock::Clock;

use crate::demo::stage::{Connected, Stage};
use crate::demo::tale::{Tale, in_words};
use crate::demo::trouble::{Trouble, While as _};

pub(super) async fn play(tale: &mut Tale, stage: &mut Stage, ana: &Connected) -> Result<(), Trouble> {
    tale.chapter("Revoke", "an administrator says stop");
    tale.doing("opening 1,000 flows, a download and an upload");
    let traffic = Traffic::begin(ana).await?;
    tokio::time::sleep(WARM).await;
    let speed = traffic.speed(WARM).await;
    tale.figure("download", speed, "Mbit/s");
    let _ = stage.wiki.said(); // what ended before is not meant
    let device = stage.status("ana").await?.snapshot.device.while_doing("looking for Ana's device")?;
    let hold =
        Op::HoldPlace { target: HoldTarget::Device(device), reason: "reported lost".into(), until: None };
    let began = Clock.now();
    let Answer::Revoked(revoked) = stage.ask(hold).await? else {
        return Err(Trouble::new("placing a hold", "the broker does not say how far it reached"));
    };
    let answered = Clock.now().since(began);
    let ends = traffic.end().await?;
    let applications = stage.ends(FLOWS + 2).await?;
    let leaving = applications.iter().map(|end| end.last).max().unwrap_or(Time::ZERO).since(began);
    let arriving = ends.iter().map(|end| end.last).max().unwrap_or(Time::ZERO).since(began);
    let ended =
        ends.iter().chain(&applications).map(|end| end.ended).max().unwrap_or(Time::ZERO).since(began);
    tale.say(&format!(
        "Ana downloads at {speed:.0} Mbit/s and uploads as fast as she can while {FLOWS} more flows of hers talk. A hold"
    ));
    tale.say(&format!(
        "on her laptop is placed, and answered after {}: written down, in force. From the moment it was sent:",
        in_words(answered)
    ));
    tale.span("hold_answered", answered);
    tale.span("last_byte_leaving_gateway", leaving);
    tale.span("last_byte_at_application", arriving);
    tale.span("last_flow_ended", ended);
    tale.promise(revoked.durable, "the hold is written down before the administrator reads \"done\"");
    tale.promise(
        leaving <= BOUND,
        &format!("the last byte leaves the gateway for the wiki after {}", in_words(leaving)),
    );
    tale.promise(
        arriving <= BOUND,
        &format!("the last byte reaches Ana's applications after {}", in_words(arriving)),
    );
    tale.promise(
        ended <= BOUND && ends.len() == FLOWS + 2 && applications.len() >= FLOWS + 2,
        &format!("the last of {} flows has ended at both ends after {}", FLOWS + 2, in_words(ended)),
    );
    match ana.application.page("wiki.demo").await? {
        Ok(_) => tale.promise(false, "while the hold is in force no flow begins"),
        Err(problem) => {
            let why = super::reach::because(&problem);
            tale.promise(
                problem.reason == Some(DenyReason::Held),
                &format!("while it is in force no flow begins. {why}"),
            );
        }
    }
    let hold = revoked.hold.while_doing("looking for the hold")?;
    stage.ask(Op::HoldLift { hold }).await?;
    let lifted = Clock.now();
    let back = ana.application.until_reached("wiki.demo", secs(10)).await?.since(lifted);
    tale.span("back_after_lift", back);
    tale.promise(
        true,
        &format!("the hold is lifted: the wiki answers again after {}, without a sign-in", in_words(back)),
    );
    Ok(())
}

/// A download at full speed and many flows that talk.
struct Traffic {
    flows: JoinSet<End>,
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
}

/// How a flow came to its end, at one of its ends.
#[derive(Clone, Copy)]
pub(crate) struct End {
    /// When its last byte came in.
    pub(crate) last: Time,
    /// When it was over.
    pub(crate) ended: Time,
}

impl Traffic {
    async fn begin(ana: &Connected) -> Result<Self, Trouble> {
        let (stop, received) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut opening = JoinSet::new();
        let mut flows = JoinSet::new();
        for number in 0..FLOWS {
            let application = ana.application.clone();
            opening.spawn(async move { application.held("wiki.demo").await });
            if number % AT_ONCE == AT_ONCE - 1 {
                while let Some(opened) = opening.join_next().await {
                    let stream = opened.while_doing("opening flows")??;
                    flows.spawn(talk(stream, Arc::clone(&stop)));
                }
            }
        }
        let download = ana.application.download("wiki.demo").await?;
        flows.spawn(swallow(download, Arc::clone(&received)));
        flows.spawn(pour(ana.application.upload("wiki.demo").await?));
        Ok(Self { flows, stop, received })
    }

    /// How fast the download is, in Mbit/s, looked at for a while.
    async fn speed(&self, span: Duration) -> f64 {
        let before = self.received.load(Ordering::Relaxed);
        tokio::time::sleep(span).await;
        let bytes = self.received.load(Ordering::Relaxed) - before;
        bytes as f64 * 8.0 / span.as_secs_f64() / 1e6
    }

    /// Waits until every flow has ended by itself.
    async fn end(mut self) -> Result<Vec<End>, Trouble> {
        let mut ends = Vec::new();
        let collect = async {
            while let Some(end) = self.flows.join_next().await {
                if let Ok(end) = end {
                    ends.push(end);
                }
            }
        };
        let _ = timeout(PATIENCE, collect).await; // flows that live on are missing, and counted
        self.stop.store(true, Ordering::Relaxed);
        Ok(ends)
    }
}

/// Sends a little now and then, and hears it come back.
async fn talk(mut stream: TcpStream, stop: Arc<AtomicBool>) -> End {
    let mut last = Clock.now();
    let mut buffer = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        if stream.write_all(b"are you there? ").await.is_err() {
            break;
        }
        match stream.read(&mut buffer).await {
            Ok(1..) => last = Clock.now(),
            Ok(0) | Err(_) => break,
        }
        // A flow that ends while nothing is said is noticed at once as well.
        match timeout(PAUSE, stream.read(&mut buffer)).await {
            Ok(Ok(1..)) => last = Clock.now(),
            Ok(Ok(0) | Err(_)) => break,
            Err(_) => {}
        }
    }
    End { last, ended: Clock.now() }
}

async fn pour(mut stream: TcpStream) -> End {
    let chunk = vec![b'.'; 1 << 16];
    while stream.write_all(&chunk).await.is_ok() {}
    End { last: Time::ZERO, ended: Clock.now() } // nothing comes in
}

async fn swallow(mut stream: TcpStream, received: Arc<AtomicU64>) -> End {
    let mut last = Clock.now();
    let mut buffer = vec![0; 1 << 18];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        received.fetch_add(length as u64, Ordering::Relaxed);
        last = Clock.now();
    }
    End { last, ended: Clock.now() }
}

impl Stage {
    /// How connections ended at the wiki, once so many have.
    pub(crate) async fn ends(&mut self, number: usize) -> Result<Vec<End>, Trouble> {
        let mut ends = Vec::new();
        while ends.len() < number {
            let next = self.wiki.says(secs(5), end).await;
            match next {
                Ok((_, end)) => ends.push(end),
                Err(_) => break, // those that live on are missing, and counted
            }
        }
        Ok(ends)
    }
}

/// `ended PATH LAST ENDED BYTES`, as an application writes it.
fn end(line: &str) -> Option<End> {
    let mut words = line.strip_prefix("ended ")?.split(' ').skip(1);
    let mut time = || Some(Time::from_nanos(words.next()?.parse::<u64>().ok()? * 1_000));
    Some(End { last: time()?, ended: time()? })
}

const FLOWS: usize = 1_000;
const AT_ONCE: usize = 50;
const WARM: Duration = millis(500);
const PAUSE: Duration = millis(200);
const PATIENCE: Duration = secs(10);
/// What is promised, whatever else this machine does meanwhile.
const BOUND: Duration = secs(1);
