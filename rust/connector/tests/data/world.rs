//! One device with its local port and data thread, one gateway, and applications behind it: all on this machine's
//! loopback, all real.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use ztna_connector::local::{Dialler, Local, LocalConfig};
use ztna_connector::plane::{Patience, Plane, PlaneConfig, PlaneEvent, PlaneHandle, PlaneStatus};
use ztna_datapath::tunnel::wg_public;
use ztna_model::{
    Carrier, DenyReason, Endpoint, Fix, GatewayId, Grant, Host, LeaseId, Secret, Synthetic, WgPublic,
    base64url, secs,
};
use ztna_net::random::SystemRandom;
use ztna_net::udp::Bind;
use ztna_proxy::{Destination, Verdict};
use ztna_session::Plane as Decided;

use crate::gateway::{Gateway, Leads};

pub(crate) struct World {
    pub(crate) plane: PlaneHandle,
    pub(crate) events: mpsc::Receiver<PlaneEvent>,
    pub(crate) device: WgPublic,
    pub(crate) gateway: Gateway,
    pub(crate) local: SocketAddr,
    pub(crate) password: String,
    pub(crate) dials: Dials,
    serving: JoinHandle<()>,
}

/// Finds `app-N.demo` at the synthetic address numbered N, and knows a few other names.
#[derive(Clone, Default)]
pub(crate) struct Dials {
    /// How many wait for an answer that never comes.
    pub(crate) waiting: Arc<AtomicU32>,
}

impl Dialler for Dials {
    async fn dial(&self, destination: &Destination) -> Result<Endpoint, Verdict> {
        let Host::Name(name) = &destination.host else { return Err(Verdict::NOT_FOUND) };
        let (kind, rest) = name.as_str().split_once('-').unwrap_or((name.as_str(), ""));
        let number = rest.strip_suffix(".demo").and_then(|number| number.parse().ok()).unwrap_or(0);
        let Synthetic { v4, v6 } = Synthetic::from_index(number);
        match kind {
            "app" => Ok(Endpoint::new(v4.into(), destination.port.number())),
            "v6" => Ok(Endpoint::new(v6.into(), destination.port.number())),
            "unfit.demo" => {
                Err(Verdict::Denied { reason: DenyReason::DeviceUnfit, fixes: vec![Fix::AskAdministrator] })
            }
            "slow.demo" => {
                let _counted = Counted::new(&self.waiting);
                std::future::pending().await
            }
            _ => Err(Verdict::NOT_FOUND),
        }
    }
}

struct Counted(Arc<AtomicU32>);

impl Counted {
    fn new(number: &Arc<AtomicU32>) -> Self {
        number.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(number))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) fn config() -> PlaneConfig {
    PlaneConfig { bind: Bind::LoopbackV4, ..PlaneConfig::default() }
}

pub(crate) fn impatient() -> PlaneConfig {
    let patience = Duration::from_millis(150);
    PlaneConfig { patience: Patience { handshake: patience, answer: patience }, ..config() }
}

/// Where the application numbered `number` is inside the tunnel, on the port that all of them have.
pub(crate) fn inside(number: u16) -> Endpoint {
    Endpoint::new(Synthetic::from_index(number).v4.into(), PORT)
}

pub(crate) const PORT: u16 = 80;
/// The lease of application `number`.
pub(crate) const fn lease(number: u8) -> LeaseId {
    LeaseId([number; 16])
}

impl World {
    /// A device that may reach nothing yet.
    pub(crate) async fn new() -> Self {
        Self::with(config(), LocalConfig::at).await
    }

    pub(crate) async fn with(config: PlaneConfig, local: impl FnOnce(SocketAddr) -> LocalConfig) -> Self {
        let (plane, mut events) = Plane::start(config, None).unwrap();
        let Some(PlaneEvent::Carriers(carriers)) = events.recv().await else { panic!("no carriers") };
        assert!(matches!(carriers[..], [Carrier::Udp(at)] if at.ip().is_loopback()), "{carriers:?}");
        let gateway = Gateway::start("gw-1", [2; 32]);
        let dials = Dials::default();
        let listen = local("127.0.0.1:0".parse().unwrap());
        let port = Local::bind(listen, &mut SystemRandom::new()).await.unwrap();
        let (local, password) = (port.address(), port.secret().expose().clone());
        assert_eq!(password.len(), 32);
        let serving = tokio::spawn(port.serve(dials.clone(), plane.clone()));
        let mut world =
            Self { plane, events, device: WgPublic([0; 32]), gateway, local, password, dials, serving };
        world.take_key([1; 32]).await;
        world
    }

    /// The device takes a new key, of which the gateway is told.
    pub(crate) async fn take_key(&mut self, secret: [u8; 32]) {
        let secret = Secret::new(secret);
        self.device = wg_public(&secret);
        self.gateway.know(self.device).await;
        self.plane.carry_out(Decided::Key(secret)).await;
    }

    /// Grants application `number` through `gateway`.
    pub(crate) async fn grant_through(&self, gateway: &Gateway, number: u8) -> Grant {
        let grant = gateway.grant(self.device, number.into(), "1-65535", number).await;
        let Grant { gateway, gateway_key: key, carriers, .. } = grant.clone();
        self.plane.carry_out(Decided::Peer { gateway, key, carriers }).await;
        self.plane.carry_out(Decided::Allow(Box::new(grant.clone()))).await;
        grant
    }

    /// Grants application `number`, which `server` is.
    pub(crate) async fn grant(&self, number: u8, leads: Leads) -> Grant {
        self.gateway.route(inside(number.into()), leads).await;
        self.grant_through(&self.gateway, number).await
    }

    pub(crate) async fn end(&self, number: u8, reason: DenyReason) {
        self.plane.carry_out(Decided::End { lease: lease(number), reason }).await;
    }

    pub(crate) async fn next_event(&mut self) -> PlaneEvent {
        tokio::time::timeout(secs(20), self.events.recv()).await.expect("an event").unwrap()
    }

    /// Waits until the data thread stands as it should.
    pub(crate) async fn until(&self, what: impl Fn(&PlaneStatus) -> bool) -> PlaneStatus {
        loop {
            let status = self.plane.status().await;
            if what(&status) {
                return status;
            }
            tokio::task::yield_now().await;
        }
    }

    /// A fresh connection to the local port.
    pub(crate) async fn call(&self) -> TcpStream {
        TcpStream::connect(self.local).await.unwrap()
    }

    pub(crate) fn credentials(&self) -> String {
        let pair = format!("ana:{}", self.password);
        format!("Proxy-Authorization: Basic {}\r\n", base64(pair.as_bytes()))
    }

    /// Asks for a tunnel to `authority` by HTTP CONNECT: the answer's head, and the connection behind it.
    pub(crate) async fn connect(&self, authority: &str) -> (String, TcpStream) {
        let mut stream = self.call().await;
        let request =
            format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{}\r\n", self.credentials());
        stream.write_all(request.as_bytes()).await.unwrap();
        (head(&mut stream).await, stream)
    }

    /// A tunnel to application `number`.
    pub(crate) async fn tunnel(&self, number: u8) -> TcpStream {
        let (answer, stream) = self.connect(&format!("app-{number}.demo:{PORT}")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        stream
    }

    /// Asks for a tunnel by SOCKS5: the reply's code, and the connection behind it.
    pub(crate) async fn socks(&self, name: &str, port: u16) -> (u8, TcpStream) {
        let mut stream = self.call().await;
        let mut answer = [0; 2];
        stream.write_all(&[5, 1, 2]).await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, [5, 2]);
        let mut credentials = vec![1, 3];
        credentials.extend(b"ana");
        credentials.push(self.password.len() as u8);
        credentials.extend(self.password.as_bytes());
        stream.write_all(&credentials).await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, [1, 0]);
        let mut request = vec![5, 1, 0, 3, name.len() as u8];
        request.extend(name.as_bytes());
        request.extend(port.to_be_bytes());
        stream.write_all(&request).await.unwrap();
        let mut reply = [0; 10];
        stream.read_exact(&mut reply).await.unwrap();
        (reply[1], stream)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A head, up to and with its empty line, byte by byte.
pub(crate) async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(cause) => panic!("{cause} after {:?}", String::from_utf8_lossy(&head)),
        }
    }
    String::from_utf8(head).unwrap()
}

/// Everything that comes until the end.
pub(crate) async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    rest
}

/// A server that treats each connection alike.
pub(crate) async fn server<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Sends back what comes, until its end.
pub(crate) async fn echo() -> Leads {
    let serve = |mut stream: TcpStream| async move {
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    };
    Leads::To(server(serve).await)
}

pub(crate) fn id(gateway: &Gateway) -> GatewayId {
    gateway.id.clone()
}

/// Standard base64 with padding (RFC 4648, section 4), which Basic credentials have.
fn base64(bytes: &[u8]) -> String {
    let text = base64url::encode(bytes).replace('-', "+").replace('_', "/");
    let padding = "=".repeat((4 - text.len() % 4) % 4);
    text + &padding
}
