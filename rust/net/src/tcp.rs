//! TCP to and from the control plane and the applications: always without Nagle's delay.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use ztna_model::{Host, Port, millis};

/// Why a TCP port could not be opened.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Another process has it.
    #[error("`{address}` is in use by another process")]
    Taken {
        /// Which.
        address: SocketAddr,
    },
    /// Ports below 1024 may need a privilege.
    #[error("no permission to listen on `{address}`")]
    Forbidden {
        /// Which.
        address: SocketAddr,
    },
    /// This machine has no such address.
    #[error("`{address}` is not an address of this machine")]
    NotOurs {
        /// Which.
        address: SocketAddr,
    },
    /// The operating system refused.
    #[error("cannot listen on `{address}`: {cause}")]
    Refused {
        /// Which.
        address: SocketAddr,
        /// Its words.
        cause: io::Error,
    },
}

/// Why nobody was reached.
#[derive(Debug, Error)]
pub enum DialError {
    /// The name has no address.
    #[error("`{name}` has no address: {cause}")]
    Unresolved {
        /// Which.
        name: String,
        /// The resolver's words.
        cause: io::Error,
    },
    /// No address to try.
    #[error("no address to connect to")]
    NoAddress,
    /// Nothing listens there, and the machine says so.
    #[error("`{address}` refused the connection")]
    Refused {
        /// Which.
        address: SocketAddr,
    },
    /// No answer in time.
    #[error("`{address}` did not answer within {} ms", within.as_millis())]
    Silent {
        /// Which.
        address: SocketAddr,
        /// How long was waited.
        within: Duration,
    },
    /// There is no way there.
    #[error("`{address}` cannot be reached: {cause}")]
    Unreachable {
        /// Which.
        address: SocketAddr,
        /// The operating system's words.
        cause: io::Error,
    },
}

/// Whether what listens on `address` can be reached from this machine alone.
pub fn is_loopback_only(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Listens on `address`; port 0 takes a free one.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|cause| match Errno::from_io_error(&cause) {
        Some(Errno::ADDRINUSE) => ListenError::Taken { address },
        Some(Errno::ACCESS) => ListenError::Forbidden { address },
        Some(Errno::ADDRNOTAVAIL) => ListenError::NotOurs { address },
        _ => ListenError::Refused { address, cause },
    })
}

/// The next connection. What concerns that connection alone is passed over, and a lack of descriptors waited out: a
/// listener ends only with its owner.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) if stream.set_nodelay(true).is_ok() => return (stream, address),
            Ok(_) => {} // reset before it was taken
            Err(cause) if concerns_one_connection(&cause) => {}
            Err(cause) => {
                tracing::warn!(%cause, "cannot accept connections");
                sleep(BREATH).await;
            }
        }
    }
}

/// The addresses of `host`, in the order to try them. They are what to check, and then what to dial: asking again
/// may bring others.
pub async fn resolve(host: &Host, port: Port, within: Duration) -> Result<Vec<SocketAddr>, DialError> {
    let name = match host {
        Host::Address(address) => return Ok(vec![SocketAddr::new(*address, port.number())]),
        Host::Name(name) => name.as_str(),
    };
    let unresolved = |cause| DialError::Unresolved { name: name.into(), cause };
    match timeout(within, tokio::net::lookup_host((name, port.number()))).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(cause)) => Err(unresolved(cause)),
        Err(_) => Err(unresolved(io::ErrorKind::TimedOut.into())),
    }
}

/// Connects to exactly `address`.
pub async fn dial(address: SocketAddr, within: Duration) -> Result<TcpStream, DialError> {
    let stream = match timeout(within, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(cause)) => return Err(unreached(address, cause, within)),
        Err(_) => return Err(DialError::Silent { address, within }),
    };
    stream.set_nodelay(true).map_err(|cause| unreached(address, cause, within))?;
    Ok(stream)
}

/// Connects to the first of `addresses` that answers; each gets a short head start on the next (RFC 8305, 5).
pub async fn dial_first(addresses: &[SocketAddr], within: Duration) -> Result<TcpStream, DialError> {
    let mut attempts = JoinSet::new();
    let mut left = interleaved(addresses).into_iter();
    let mut last = DialError::NoAddress;
    loop {
        let started = left.next().map(|address| attempts.spawn(dial(address, within))).is_some();
        let finished = tokio::select! {
            finished = attempts.join_next() => finished,
            () = sleep(HEAD_START), if started && left.len() > 0 => continue,
        };
        match finished {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(cause))) => last = cause,
            Some(Err(_)) => {} // only this function ends an attempt
            None if left.len() == 0 => return Err(last),
            None => {}
        }
    }
}

/// One of each family in turn, beginning with the family of the first: a network without IPv6 costs one head start.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let of_family = |v6| addresses.iter().copied().filter(move |address| address.is_ipv6() == v6);
    let (mut ours, mut others) = (of_family(first), of_family(!first));
    let mut order = Vec::with_capacity(addresses.len());
    while order.len() < addresses.len() {
        order.extend(ours.next());
        order.extend(others.next());
    }
    order
}

fn unreached(address: SocketAddr, cause: io::Error, within: Duration) -> DialError {
    match Errno::from_io_error(&cause) {
        Some(Errno::CONNREFUSED) => DialError::Refused { address },
        Some(Errno::TIMEDOUT) => DialError::Silent { address, within },
        _ => DialError::Unreachable { address, cause },
    }
}

fn concerns_one_connection(cause: &io::Error) -> bool {
    matches!(Errno::from_io_error(cause), Some(Errno::CONNABORTED | Errno::CONNRESET | Errno::INTR))
}

/// How long to wait for descriptors to come free.
const BREATH: Duration = millis(100);
/// RFC 8305's recommended connection attempt delay.
const HEAD_START: Duration = millis(250);

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use ztna_model::secs;

    use super::*;

    const WITHIN: Duration = secs(5);

    fn loopback(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// An address on which nothing listens.
    async fn closed() -> SocketAddr {
        listen(loopback(0)).await.unwrap().local_addr().unwrap()
    }

    #[test]
    fn which_addresses_stay_on_this_machine() {
        for text in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(is_loopback_only(text.parse().unwrap()), "{text}");
        }
        for text in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:0.0.0.0]:1", "[fe80::1]:1"] {
            assert!(!is_loopback_only(text.parse().unwrap()), "{text}");
        }
    }

    #[tokio::test]
    async fn connections_go_without_delay() {
        let listener = listen(loopback(0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, (server, from)) = tokio::join!(dial(address, WITHIN), accept(&listener));
        let client = client.unwrap();
        assert!(client.nodelay().unwrap() && server.nodelay().unwrap());
        assert_eq!(client.local_addr().unwrap(), from);
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let listener = listen(loopback(0)).await.unwrap();
        let error = listen(listener.local_addr().unwrap()).await.unwrap_err();
        assert!(matches!(error, ListenError::Taken { .. }), "{error}");
        let elsewhere = "192.0.2.1:0".parse().unwrap();
        assert!(matches!(listen(elsewhere).await, Err(ListenError::NotOurs { .. })));
    }

    #[tokio::test]
    async fn the_first_that_answers_is_taken() {
        let listener = listen(loopback(0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = dial_first(&[closed().await, closed().await, address], WITHIN).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        assert!(matches!(dial_first(&[], WITHIN).await, Err(DialError::NoAddress)));
        let refused = dial_first(&[closed().await, closed().await], WITHIN).await;
        assert!(matches!(refused, Err(DialError::Refused { .. })), "{refused:?}");
    }

    #[test]
    fn families_take_turns() {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        let listed = parse(&["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "192.0.2.1:1"]);
        let expected = parse(&["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1", "[2001:db8::3]:1"]);
        assert_eq!(interleaved(&listed), expected);
    }

    #[tokio::test]
    async fn an_address_resolves_to_itself() {
        let host = Host::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let port = Port::new(443).unwrap();
        assert_eq!(resolve(&host, port, WITHIN).await.unwrap(), [loopback(443)]);
    }
}
