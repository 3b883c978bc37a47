use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;
use ztna_model::millis;

use super::Namespace;

/// Tells everybody who writes to `at` on `machine` as whom they are seen.
pub(crate) async fn mirror(machine: &Namespace, at: &str) {
    let socket = bind(machine, at).await;
    machine.spawn(async move {
        let mut bytes = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut bytes).await {
            let _ = socket.send_to(from.to_string().as_bytes(), from).await; // nobody may listen any more
        }
    });
}

/// As whom `socket` of `machine` is seen by the mirror at `mirror`.
pub(crate) async fn seen_by(
    machine: &Namespace,
    socket: &Arc<UdpSocket>,
    mirror: &str,
) -> Option<SocketAddr> {
    let (socket, mirror) = (Arc::clone(socket), mirror.to_owned());
    machine
        .within(async move {
            socket.send_to(b"who am I?", &mirror).await.ok()?;
            let mut bytes = [0; 64];
            let (length, _) = timeout(MOMENT, socket.recv_from(&mut bytes)).await.ok()?.ok()?;
            String::from_utf8_lossy(&bytes[..length]).parse().ok()
        })
        .await
}

/// The same, of a network that needs a moment: addresses and wires come up one after the other.
pub(crate) async fn seen_at_last(machine: &Namespace, socket: &Arc<UdpSocket>, mirror: &str) -> SocketAddr {
    for _ in 0..10 {
        if let Some(seen) = seen_by(machine, socket, mirror).await {
            return seen;
        }
    }
    panic!("{mirror} does not answer");
}

/// Whether a datagram from `from` on `machine` to `to` is heard by `listener` of `client`.
pub(crate) async fn is_heard(
    (machine, from): (&Namespace, &str),
    to: SocketAddr,
    (client, listener): (&Namespace, &Arc<UdpSocket>),
) -> bool {
    let (sender, listener) = (bind(machine, from).await, Arc::clone(listener));
    machine.within(async move { sender.send_to(b"knock", to).await.expect("it leaves") }).await;
    client.within(async move { timeout(MOMENT, listener.recv_from(&mut [0; 64])).await.is_ok() }).await
}

pub(crate) async fn bind(machine: &Namespace, at: &str) -> Arc<UdpSocket> {
    let at = at.to_owned();
    machine
        .within(async move {
            Arc::new(UdpSocket::bind(&at).await.unwrap_or_else(|error| panic!("{at}: {error}")))
        })
        .await
}

const MOMENT: Duration = millis(400);
