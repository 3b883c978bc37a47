use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use tokio::time::timeout;
use zbus::zvariant::DynamicType;
use zbus::{Connection, Message, OwnedVariant};
use ztna_model::{DomainName, Inner, secs};
use ztna_net::link::DeviceIndex;

/// systemd-resolved, asked over D-Bus (org.freedesktop.resolve1(5)) to send the organisation's names to the resolver
/// inside the tunnel, and no others. It forgets by itself when the device is gone.
#[derive(Debug)]
pub(super) struct Resolved {
    bus: Connection,
    device: DeviceIndex,
}

/// Why systemd-resolved does not do it.
#[derive(Debug, Error)]
pub(super) enum ResolvedError {
    /// No bus, or nobody on it.
    #[error("systemd-resolved does not run")]
    Absent,
    /// It said no.
    #[error("systemd-resolved refused: {0}")]
    Refused(zbus::Error),
    /// It says nothing.
    #[error("systemd-resolved does not answer")]
    Silent,
}

impl Resolved {
    /// Finds it, without starting it. `bus` is the address of another bus than the system's.
    pub(super) async fn find(bus: Option<&str>, device: DeviceIndex) -> Result<Self, ResolvedError> {
        let connected = async {
            match bus {
                Some(address) => zbus::connection::Builder::address(address).build().await,
                None => Connection::system().await,
            }
        };
        let bus = timeout(PATIENCE, connected).await.map_err(|_| ResolvedError::Silent)?;
        let found = Self { bus: bus.map_err(|_| ResolvedError::Absent)?, device };
        if found.is_there().await { Ok(found) } else { Err(ResolvedError::Absent) }
    }

    /// Whether it runs.
    pub(super) async fn is_there(&self) -> bool {
        let owned = self.ask((BUS, BUS_PATH, BUS), "NameHasOwner", &NAME).await;
        owned.is_ok_and(|answer| answer.body().deserialize().unwrap_or(false))
    }

    /// Sends `domains`, and all names below them, to the resolver inside the tunnel. Whether it asks that resolver without
    /// TLS, where the machine asks over TLS alone.
    pub(super) async fn apply(&self, domains: &[DomainName]) -> Result<bool, ResolvedError> {
        let names: Vec<(String, bool)> =
            domains.iter().map(|name| (name.to_string(), ROUTING_ONLY)).collect();
        let resolver = vec![(INET, Inner::RESOLVER.v4.octets().to_vec())];
        // First that nothing else comes here, last what does.
        self.set("SetLinkDefaultRoute", &(self.index(), false)).await?;
        // A resolver that knows none of these asks for none of them over the network.
        let _ = self.set("SetLinkLLMNR", &(self.index(), "no")).await;
        let _ = self.set("SetLinkMulticastDNS", &(self.index(), "no")).await;
        // Stand-in addresses are signed by nobody.
        let _ = self.set("SetLinkDNSSEC", &(self.index(), "no")).await;
        // The tunnel is encrypted already, and nothing listens on its resolver's port 853.
        let is_plain = self.set("SetLinkDNSOverTLS", &(self.index(), "no")).await.is_ok();
        self.set("SetLinkDNS", &(self.index(), resolver)).await?;
        self.set("SetLinkDomains", &(self.index(), names)).await?;
        let _ = self.set("FlushCaches", &()).await; // what it knew, it may keep asking
        Ok(is_plain || !self.is_strict().await)
    }

    /// Takes everything back.
    pub(super) async fn revert(&self) -> Result<(), ResolvedError> {
        self.set("RevertLink", &self.index()).await
    }

    /// Whether the machine asks over TLS alone.
    async fn is_strict(&self) -> bool {
        let mode = self.ask((NAME, PATH, PROPERTIES), "Get", &(MANAGER, "DNSOverTLS")).await;
        let mode = mode.ok().and_then(|answer| answer.body().deserialize::<OwnedVariant>().ok());
        mode.and_then(|mode| String::try_from(mode).ok()).is_some_and(|mode| mode == "yes")
    }

    fn index(&self) -> i32 {
        i32::try_from(self.device.0).unwrap_or(0)
    }

    async fn set(&self, method: &str, body: &(impl Serialize + DynamicType)) -> Result<(), ResolvedError> {
        self.ask((NAME, PATH, MANAGER), method, body).await.map(drop)
    }

    /// Calls a method of (service, object, interface).
    async fn ask(
        &self,
        (service, path, interface): (&str, &str, &str),
        method: &str,
        body: &(impl Serialize + DynamicType),
    ) -> Result<Message, ResolvedError> {
        let answer = self.bus.call_method(Some(service), path, Some(interface), method, body);
        timeout(PATIENCE, answer).await.map_err(|_| ResolvedError::Silent)?.map_err(ResolvedError::Refused)
    }
}

const NAME: &str = "org.freedesktop.resolve1";
const PATH: &str = "/org/freedesktop/resolve1";
const MANAGER: &str = "org.freedesktop.resolve1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";
const INET: i32 = 2;
const ROUTING_ONLY: bool = true;
const PATIENCE: Duration = secs(3);
