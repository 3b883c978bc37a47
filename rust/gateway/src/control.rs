use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use ztna_api::discovery::Versions;
use ztna_api::gateway::{Beat, FromGateway, Hello, Reachable, Statement, ToGateway, Welcome};
use ztna_api::keyset::{KeySet, KeySetError};
use ztna_model::{Carrier, SignError, WallTime, millis, secs};
use ztna_net::clock::Clock;
use ztna_net::inbox::Post;
use ztna_net::keys::P256Key;
use ztna_net::random::SystemRandom;
use ztna_net::tls::IdentitySlot;
use ztna_net::udp::Bind;

use crate::backoff::Backoff;
use crate::carriers::carriers;
use crate::certificate::Enrolment;
use crate::config::UdpConfig;
use crate::order::Order;
use crate::status::{Identity, Source};
use crate::stream::{PING_EVERY, Stream, StreamError};

/// The talk with the broker: a stream is opened again and again, for as long as the gateway runs.
///
/// While there is none, nothing is asked for and nothing renewed: leases run out by themselves.
pub(crate) struct Control {
    pub(crate) identity: Identity,
    /// The key of the certificate.
    pub(crate) key: P256Key,
    /// What is presented to the broker.
    pub(crate) slot: Arc<IdentitySlot>,
    pub(crate) enrolment: watch::Receiver<Enrolment>,
    /// Where datagrams are taken.
    pub(crate) port: PortFacts,
    pub(crate) post: Post<Order>,
    pub(crate) told: mpsc::UnboundedReceiver<FromGateway>,
    pub(crate) source: watch::Sender<Source>,
}

/// What is known of the one UDP port.
#[derive(Clone, Debug)]
pub(crate) struct PortFacts {
    pub(crate) config: UdpConfig,
    pub(crate) local: SocketAddr,
    pub(crate) bound: Bind,
}

/// Why the talk has ended.
#[derive(Debug, Error)]
enum ControlError {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("the broker did not begin with `welcome`")]
    NoWelcome,
    #[error("the broker speaks version {0}")]
    Version(u16),
    #[error("the broker takes this gateway for another")]
    OtherGateway,
    #[error(transparent)]
    Keys(#[from] KeySetError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("the data thread has ended")]
    NoDataThread,
}

impl Control {
    /// Talks for as long as it is polled.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut seen_keys = 0;
        loop {
            let Err(error) = self.talk(&mut backoff, &mut seen_keys).await else {
                tracing::info!("the stream to the broker is opened anew, under the renewed certificate");
                continue;
            };
            let pause = backoff.next(&mut SystemRandom::new());
            tracing::warn!(%error, pause_ms = pause.as_millis(), "there is no stream to the broker");
            self.stands(None, Some(error.to_string()), Vec::new());
            self.pause(pause).await;
        }
    }

    /// Opens a stream and carries frames both ways, until it breaks or the certificate was renewed.
    async fn talk(&mut self, backoff: &mut Backoff, seen_keys: &mut u64) -> Result<(), ControlError> {
        let enrolment = self.enrolment.borrow_and_update().clone();
        let mut stream = Stream::open(&enrolment.listener, enrolment.root, Arc::clone(&self.slot)).await?;
        // What was said to an earlier stream is stale.
        while self.told.try_recv().is_ok() {}
        let carriers = self.carriers(&stream);
        stream.say(self.hello(&enrolment, carriers.clone())?.into()).await?;
        let welcome = self.welcome(stream.first().await?, &enrolment, seen_keys)?;
        self.order(welcome.into()).await?;
        backoff.reset();
        self.stands(Some(Clock.wall()), None, carriers.clone());
        if let Some(trouble) = self.source.borrow().no_way() {
            tracing::warn!("{trouble}");
        }
        tracing::info!("the stream to the broker is open");
        self.carry(stream, carriers).await
    }

    /// Says who this is; the clock is read at this very moment.
    fn hello(&self, enrolment: &Enrolment, carriers: Vec<Carrier>) -> Result<Hello, ControlError> {
        let Identity { org, gateway, run, wg_pub, software } = self.identity.clone();
        let statement = Statement { org: org.clone(), gw: gateway, run, wg_pub };
        Ok(Hello {
            org,
            versions: Versions::OURS,
            statement: statement.sign(&self.key, enrolment.chain.clone())?,
            beat: Beat { run, now: Clock.now().as_millis() },
            wg_pub,
            carriers,
            software,
        })
    }

    /// Whether the broker answers as ours would. A key set older than one that was seen is refused.
    fn welcome(
        &self,
        first: ToGateway,
        enrolment: &Enrolment,
        seen_keys: &mut u64,
    ) -> Result<Welcome, ControlError> {
        let ToGateway::Welcome(welcome) = first else { return Err(ControlError::NoWelcome) };
        if Versions::OURS.agree(Versions { min: welcome.version, max: welcome.version }).is_none() {
            return Err(ControlError::Version(welcome.version));
        }
        if welcome.gateway != self.identity.gateway {
            return Err(ControlError::OtherGateway);
        }
        let known = enrolment.known().max(*seen_keys);
        *seen_keys = KeySet::verify(&welcome.keys, &enrolment.org, &enrolment.root, known)?.seq;
        Ok(welcome)
    }

    async fn carry(&mut self, mut stream: Stream, mut carriers: Vec<Carrier>) -> Result<(), ControlError> {
        let (mut pings, mut looks) = (every(PING_EVERY), every(LOOK_EVERY));
        loop {
            tokio::select! {
                frame = stream.next() => self.order(frame?).await?,
                Some(frame) = self.told.recv() => stream.say_all(frame, &mut self.told).await?,
                _ = pings.tick() => stream.ping().await?,
                _ = looks.tick() => {
                    let found = self.carriers(&stream);
                    if found != carriers {
                        carriers = found;
                        stream.say(Reachable { carriers: carriers.clone() }.into()).await?;
                        self.source.send_modify(|source| told_of(source, &carriers));
                    }
                }
                Ok(()) = self.enrolment.changed() => {
                    stream.close().await;
                    return Ok(());
                }
            }
        }
    }

    async fn order(&self, frame: ToGateway) -> Result<(), ControlError> {
        let order = Order::Frame(Box::new(frame));
        self.post.send(order).await.map_err(|_| ControlError::NoDataThread)
    }

    fn carriers(&self, stream: &Stream) -> Vec<Carrier> {
        carriers(&self.port.config, self.port.local, self.port.bound, &stream.brokers)
    }

    /// Waits before the next try; a renewed certificate is reason to try at once.
    async fn pause(&mut self, pause: Duration) {
        let pause = tokio::time::sleep(pause);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return,
                Ok(()) = self.enrolment.changed() => return,
                // Nobody hears it.
                Some(_) = self.told.recv() => {}
            }
        }
    }

    fn stands(&self, connected_since: Option<WallTime>, trouble: Option<String>, carriers: Vec<Carrier>) {
        let certificate_until = self.slot.current().not_after();
        self.source.send_replace(Source::Broker { connected_since, trouble, carriers, certificate_until });
    }
}

fn told_of(source: &mut Source, found: &[Carrier]) {
    match source {
        Source::Broker { carriers, .. } => *carriers = found.to_vec(),
        Source::File { .. } => {}
    }
}

fn every(span: Duration) -> Interval {
    let mut interval = interval(span);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

const FIRST_PAUSE: Duration = millis(100);
const LONGEST_PAUSE: Duration = secs(5);
/// How often to see whether this machine's addresses have changed.
const LOOK_EVERY: Duration = secs(30);
