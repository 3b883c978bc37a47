use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use ztna_gateway::status::Source;
use ztna_model::{Carrier, Random as _, WgPublic, millis};
use ztna_net::random::SystemRandom;

use crate::demo::dice::Dice;
use crate::demo::stage::Stage;
use crate::demo::tale::Tale;
use crate::demo::trouble::{Trouble, While as _};

pub(super) async fn play(tale: &mut Tale, stage: &Stage, dice: &mut Dice) -> Result<(), Trouble> {
    tale.chapter("Dark", "there is nothing to attack where there is nothing to see");
    let open = Sockets::of(stage.gateway.id())?;
    tale.figure("gateway_tcp_listeners", open.listeners as f64, "sockets");
    tale.figure("gateway_udp_sockets", open.udp as f64, "sockets");
    tale.promise(
        open.listeners == 0 && open.udp == 1,
        &format!("the gateway's process has {} TCP listeners and {} UDP socket", open.listeners, open.udp),
    );
    tale.doing("sending datagrams to it that it must not answer");
    let probe = Probe::of(stage).await?;
    let mut datagrams = vec![vec![]];
    datagrams.extend((0..RANDOM).map(|_| {
        let length = 1 + dice.below(1_400);
        dice.bytes(length)
    }));
    datagrams.extend([probe.initiation()?]);
    let before = heard(stage).await?;
    let back = probe.send(&datagrams, millis(400)).await?;
    let heard = heard(stage).await? - before;
    tale.figure("bytes_back_from_gateway", back as f64, "bytes");
    let (number, filled) =
        (datagrams.len(), datagrams.iter().filter(|datagram| !datagram.is_empty()).count());
    tale.promise(
        back == 0 && heard == filled as u64, // an empty one is not counted there
        &format!(
            "{number} datagrams to it (empty, random, a valid WireGuard initiation by an unknown key) come in, and \
             {back} bytes back"
        ),
    );
    tale.admit(
        "The applications listen on this machine's loopback, since a demonstration has no second network; \
         in a deployment they stand behind the gateway.",
    );
    Ok(())
}

/// How many datagrams have come to the gateway that no tunnel took.
pub(super) async fn heard(stage: &Stage) -> Result<u64, Trouble> {
    Ok(stage.gateway_status().await?.plane.refused_datagrams.values().sum())
}

/// What sockets a process has.
struct Sockets {
    listeners: usize,
    udp: usize,
}

impl Sockets {
    /// Looks into `/proc`: the sockets among the process's descriptors, in the kernel's own tables.
    fn of(process: u32) -> Result<Self, Trouble> {
        let doing = "looking at the gateway's sockets";
        let mut inodes = BTreeSet::new();
        for entry in fs::read_dir(format!("/proc/{process}/fd")).while_doing(doing)? {
            let target = fs::read_link(entry.while_doing(doing)?.path()).unwrap_or_default();
            let target = target.to_string_lossy();
            if let Some(inode) = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
                inodes.insert(inode.to_owned());
            }
        }
        let count = |table: &str, state: Option<&str>| {
            let text = fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
            let is_ours = |line: &&str| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let is_meant = state.is_none_or(|state| fields.get(3) == Some(&state));
                is_meant && fields.get(9).is_some_and(|inode| inodes.contains(*inode))
            };
            text.lines().skip(1).filter(is_ours).count()
        };
        let listeners = count("tcp", Some(LISTEN)) + count("tcp6", Some(LISTEN));
        Ok(Self { listeners, udp: count("udp", None) + count("udp6", None) })
    }
}

/// Somebody who sends datagrams to the gateway's port.
pub(crate) struct Probe {
    socket: UdpSocket,
    gateway: SocketAddr,
    key: WgPublic,
}

impl Probe {
    pub(crate) async fn of(stage: &Stage) -> Result<Self, Trouble> {
        let doing = "looking for the gateway's port";
        let status = stage.gateway_status().await?;
        let carriers = match status.source {
            Source::Broker { carriers, .. } => carriers,
            Source::File { .. } => vec![],
        };
        let Carrier::Udp(gateway) = carriers.into_iter().next().while_doing(doing)?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.while_doing(doing)?;
        Ok(Self { socket, gateway, key: status.identity.wg_pub })
    }

    /// A valid first message of a handshake (WireGuard, 5.4.2), by a key that the gateway does not know.
    pub(crate) fn initiation(&self) -> Result<Vec<u8>, Trouble> {
        let doing = "making a WireGuard initiation";
        let secret = StaticSecret::from(SystemRandom::new().array::<32>());
        let mut tunnel = Tunn::new(secret, PublicKey::from(self.key.0), None, None, 7, None);
        let mut buffer = [0; 256];
        match tunnel.format_handshake_initiation(&mut buffer, false) {
            TunnResult::WriteToNetwork(datagram) => Ok(datagram.to_vec()),
            TunnResult::Done
            | TunnResult::Err(_)
            | TunnResult::WriteToTunnelV4(..)
            | TunnResult::WriteToTunnelV6(..) => Err(Trouble::new(doing, "it makes none")),
        }
    }

    /// Sends these, and counts the bytes that come back within the time.
    pub(crate) async fn send(&self, datagrams: &[Vec<u8>], within: Duration) -> Result<usize, Trouble> {
        let doing = "sending a datagram to the gateway";
        for datagram in datagrams {
            self.socket.send_to(datagram, self.gateway).await.while_doing(doing)?;
        }
        let mut back = 0;
        let mut buffer = [0; 2_048];
        while let Ok(Ok((length, _))) = timeout(within, self.socket.recv_from(&mut buffer)).await {
            back += length.max(1); // an empty answer is an answer
        }
        Ok(back)
    }
}

impl Display for Probe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.gateway, self.key)
    }
}

const RANDOM: usize = 64;
/// A listening TCP socket, in the kernel's table.
const LISTEN: &str = "0A";
