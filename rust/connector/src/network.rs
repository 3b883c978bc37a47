//! Keeps this machine's network as the session wants it, and tells the others when it changes.

use std::net::SocketAddr;

use tokio::sync::watch;
use ztna_net::link::{LinkError, LinkWatch};
use ztna_session::Network;

use crate::client::Client;
use crate::plane::PlaneHandle;
use crate::system::{Applied, System};

/// Looks after this machine's network for as long as it runs.
pub(crate) struct Steward {
    /// What leads into the tunnel, if there is a TUN device.
    pub(crate) system: Option<System>,
    /// The device's name: what happens to it is no news.
    pub(crate) device: Option<String>,
    /// What the session wants.
    pub(crate) wishes: watch::Receiver<Network>,
    /// How far that could be done.
    pub(crate) applied: watch::Sender<Option<Applied>>,
    /// The system's own resolvers, where all questions come into the tunnel.
    pub(crate) upstreams: watch::Sender<Vec<SocketAddr>>,
    /// Who is told of changes.
    pub(crate) plane: PlaneHandle,
    /// And who else.
    pub(crate) client: Client,
}

impl Steward {
    /// Runs until nobody wants anything any more.
    pub(crate) async fn run(mut self) {
        let mut links = LinkWatch::open(self.device.as_deref()).map_err(|error| unseen(&error)).ok();
        loop {
            tokio::select! {
                changed = self.wishes.changed() => match changed {
                    Ok(()) => self.apply().await,
                    Err(_) => return,
                },
                change = next(&mut links) => match change {
                    Ok(change) => {
                        tracing::info!(?change, "this machine's network has changed");
                        self.apply().await;
                        self.plane.network_changed().await;
                        self.client.network_changed().await;
                    }
                    Err(error) => {
                        unseen(&error);
                        links = None;
                    }
                },
            }
        }
    }

    /// What clashes, and who resolves names, depends on the machine's own networks as well.
    async fn apply(&mut self) {
        let Some(system) = &mut self.system else { return };
        let wish = self.wishes.borrow_and_update().clone();
        match system.apply(&wish).await {
            Ok(applied) => {
                for clash in &applied.clashes {
                    tracing::warn!(granted = %clash.granted, own = %clash.own, device = clash.device, "a network of this machine's own has granted addresses: it keeps them");
                }
                self.upstreams.send_replace(system.upstreams());
                self.applied.send_replace(Some(applied));
            }
            Err(error) => tracing::error!(%error, "applications do not reach the tunnel"),
        }
    }
}

async fn next(links: &mut Option<LinkWatch>) -> Result<ztna_net::link::LinkChange, LinkError> {
    match links {
        Some(links) => links.next().await,
        None => std::future::pending().await,
    }
}

fn unseen(error: &LinkError) {
    tracing::warn!(%error, "changes of this machine's network go unnoticed");
}
