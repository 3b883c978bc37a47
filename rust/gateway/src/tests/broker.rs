use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use ztna_api::gateway::{Beat, ENROL_PATH, Enrolled, Hello, List, Offered, RENEW_PATH, STREAM_PATH, Welcome};
use ztna_api::keyset::{Key, KeySet, KeyState, KeyUse};
use ztna_api::lease;
use ztna_model::{Incarnation, OrgId, OrgString, PublicKey, Signer as _, base64url};
use ztna_net::keys::Ed25519Key;
use ztna_net::tls::{self, Admitted, Alpn, IdentitySlot};

use super::authority::Authority;
use super::*;

/// A broker that does what its test says: real TLS, real WebSockets, real signatures, no mind of its own.
pub(super) struct Broker {
    pub(super) org: OrgId,
    pub(super) script: Arc<Script>,
    streams: mpsc::UnboundedReceiver<Link>,
    tasks: JoinSet<()>,
}

/// What the broker's endpoints answer from.
pub(super) struct Script {
    org: OrgId,
    listener: String,
    root: Authority,
    gateways: Authority,
    lease: Ed25519Key,
    pub(super) incarnation: Incarnation,
    /// Tokens that are still good.
    pub(super) tokens: Mutex<Vec<String>>,
    pub(super) renewals: Mutex<u32>,
}

/// One stream of a gateway.
pub(super) struct Link {
    pub(super) hello: Hello,
    /// The latest word of the gateway's clock.
    pub(super) beat: Arc<Mutex<Beat>>,
    frames: mpsc::UnboundedReceiver<FromGateway>,
    out: mpsc::UnboundedSender<ToGateway>,
    pump: AbortHandle,
    frozen: Arc<AtomicBool>,
}

impl Broker {
    pub(super) async fn start() -> Self {
        let (public, gateways) = (listen().await, listen().await);
        let org: OrgId = format!("https://{}", public.local_addr().unwrap()).parse().unwrap();
        let script = Arc::new(Script::new(org.clone(), gateways.local_addr().unwrap().to_string()));
        let (opened, streams) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_public(public, Arc::clone(&script)));
        tasks.spawn(serve_gateways(gateways, Arc::clone(&script), opened));
        Self { org, script, streams, tasks }
    }

    /// The next stream that a gateway opens, welcomed.
    pub(super) async fn stream(&mut self) -> Link {
        let link = within(self.streams.recv()).await.expect("a stream");
        let welcome = Welcome {
            version: 1,
            gateway: GATEWAY.parse().unwrap(),
            incarnation: self.script.incarnation,
            keys: self.script.keys(1),
        };
        link.say(welcome);
        link
    }

    /// A token that is good once.
    pub(super) fn token(&self) -> String {
        let secret = format!("{:032x}", self.script.tokens.lock().unwrap().len() + 1);
        self.script.tokens.lock().unwrap().push(secret.clone());
        let organisation = OrgString { org: self.org.clone(), root: Some(self.script.root.pin()) };
        EnrolmentToken { organisation, secret: Secret::new(secret) }.to_text().expose().clone()
    }

    pub(super) fn org_string(&self) -> OrgString {
        OrgString { org: self.org.clone(), root: Some(self.script.root.pin()) }
    }

    pub(super) fn stop(&mut self) {
        self.tasks.abort_all();
    }
}

impl Script {
    fn new(org: OrgId, listener: String) -> Self {
        let root = Authority::root();
        let gateways = root.below("gateways");
        let lease = Ed25519Key::from_pkcs8(&Ed25519Key::generate().unwrap()).unwrap();
        Self {
            org,
            listener,
            root,
            gateways,
            lease,
            incarnation: Incarnation::random(&mut SystemRandom::new()),
            tokens: Mutex::default(),
            renewals: Mutex::default(),
        }
    }

    /// The key set, signed by the root.
    pub(super) fn keys(&self, seq: u64) -> String {
        let key =
            |usage, jwk: PublicKey, certificate| Key { usage, state: KeyState::Current, jwk, certificate };
        let authority = Some(base64url::encode(self.gateways.der()));
        let keys = vec![
            key(KeyUse::Lease, self.lease.public_key(), None),
            key(KeyUse::GatewayCa, self.gateways.key.public_key(), authority),
        ];
        KeySet { org: self.org.clone(), seq, keys }.sign(&self.root.key).unwrap()
    }

    pub(super) fn sign(&self, lease: &Lease) -> String {
        lease::sign(&self.lease, lease).unwrap()
    }

    /// A certificate by another authority than the organisation's.
    pub(super) fn certify_elsewhere(&self, request: &str) -> String {
        Authority::root().below("gateways").certify(request, &self.org, GATEWAY, Duration::ZERO)
    }

    /// A certificate for a gateway of another name or organisation, by the authority that certifies ours.
    pub(super) fn certify_as(&self, request: &str, org: &str, gateway: &str) -> String {
        self.gateways.certify(request, &org.parse().unwrap(), gateway, Duration::ZERO)
    }

    /// A certificate of which so much life is over.
    pub(super) fn certify(&self, request: &str, lived: Duration) -> String {
        self.gateways.certify(request, &self.org, GATEWAY, lived)
    }

    /// What a gateway is answered with.
    pub(super) fn enrolled(&self, request: &str) -> Enrolled {
        Enrolled {
            org: self.org.clone(),
            gateway: GATEWAY.parse().unwrap(),
            site: "berlin".parse().unwrap(),
            chain: vec![self.certify(request, Duration::ZERO)],
            keys: self.keys(1),
            listener: self.listener.clone(),
        }
    }

    fn answer(&self, path: &str, body: &serde_json::Value) -> String {
        let request = body["request"].as_str().unwrap();
        match path {
            ENROL_PATH => {
                let token = body["token"].as_str().unwrap().to_owned();
                let mut tokens = self.tokens.lock().unwrap();
                let Some(found) = tokens.iter().position(|good| *good == token) else {
                    let problem =
                        r#"{"type":"about:blank","title":"no","status":403,"detail":"used before"}"#;
                    return response("403 Forbidden", problem);
                };
                tokens.remove(found);
                response("200 OK", &serde_json::to_string(&self.enrolled(request)).unwrap())
            }
            RENEW_PATH => {
                *self.renewals.lock().unwrap() += 1;
                response("200 OK", &serde_json::to_string(&self.enrolled(request)).unwrap())
            }
            _ => response("404 Not Found", "{}"),
        }
    }
}

impl Link {
    /// Says something to the gateway.
    pub(super) fn say(&self, frame: impl Into<ToGateway>) {
        self.out.send(frame.into()).unwrap();
    }

    /// Offers a lease and waits for the gateway's answer.
    pub(super) async fn offer(&mut self, script: &Script, lease: &Lease) -> Result<(), LeaseError> {
        self.say(Offered { lease: script.sign(lease), carriers: Vec::new() });
        self.wait_for(|frame| match frame {
            FromGateway::Held(held) if held.lease == lease.id => Some(Ok(())),
            FromGateway::Declined(declined) => Some(Err(declined.code)),
            _ => None,
        })
        .await
    }

    /// The first frame from here on that `is_meant` makes something of.
    pub(super) async fn wait_for<T>(&mut self, mut is_meant: impl FnMut(FromGateway) -> Option<T>) -> T {
        within(async {
            loop {
                let frame = self.frames.recv().await.expect("the stream is open");
                if let Some(found) = is_meant(frame) {
                    return found;
                }
            }
        })
        .await
    }

    /// Whether the gateway has closed it, by now or soon.
    pub(super) async fn closed(&mut self) {
        within(async { while self.frames.recv().await.is_some() {} }).await;
    }

    pub(super) fn list(&self, live: Vec<LeaseId>) {
        self.say(List { live });
    }

    /// Leaves the stream open and says nothing any more, not even to a ping: a broker that is cut off.
    pub(super) fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }

    /// Breaks the stream, as the end of a broker's process would.
    pub(super) fn kill(self) {
        self.pump.abort();
    }
}

async fn serve_public(listener: TcpListener, script: Arc<Script>) {
    let slot = IdentitySlot::new(script.root.server());
    let config = tls::server_config(slot, Alpn::Http1).unwrap();
    loop {
        let (stream, _) = tcp::accept(&listener).await;
        let Ok(mut stream) = tls::accept(stream, Arc::clone(&config), PATIENCE).await else { continue };
        if let Some((head, body)) = read_request(&mut stream).await {
            let answer = script.answer(path(&head), &body);
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    }
}

async fn serve_gateways(listener: TcpListener, script: Arc<Script>, opened: mpsc::UnboundedSender<Link>) {
    let slot = IdentitySlot::new(script.root.server());
    let admitted = Admitted { org: script.org.clone(), authorities: vec![script.gateways.der()] };
    let config = tls::gateway_server_config(slot, admitted, Alpn::Http1).unwrap();
    let mut links = JoinSet::new();
    loop {
        let (stream, _) = tcp::accept(&listener).await;
        let Ok(mut stream) = tls::accept(stream, Arc::clone(&config), PATIENCE).await else { continue };
        let Some((head, body)) = read_request(&mut stream).await else { continue };
        if path(&head) == STREAM_PATH {
            upgrade(&mut stream, &head).await;
            let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
            if let Some(link) = open(socket, &mut links).await {
                opened.send(link).unwrap();
            }
        } else {
            let answer = script.answer(path(&head), &body);
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    }
}

async fn upgrade(stream: &mut TlsStream<TcpStream>, head: &str) {
    let key = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(name, value)| name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim()))
        .unwrap();
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
}

async fn open(mut socket: WebSocketStream<TlsStream<TcpStream>>, links: &mut JoinSet<()>) -> Option<Link> {
    let Some(Ok(Message::Text(text))) = socket.next().await else { return None };
    let Ok(FromGateway::Hello(hello)) = FromGateway::read(text.as_bytes()) else { return None };
    let beat = Arc::new(Mutex::new(hello.beat));
    let (tell, frames) = mpsc::unbounded_channel();
    let (out, mut outgoing) = mpsc::unbounded_channel::<ToGateway>();
    let latest = Arc::clone(&beat);
    let frozen = Arc::new(AtomicBool::new(false));
    let is_frozen = Arc::clone(&frozen);
    let pump = links.spawn(async move {
        loop {
            if is_frozen.load(Ordering::SeqCst) {
                return std::future::pending().await;
            }
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        let frame = FromGateway::read(text.as_bytes()).unwrap();
                        match &frame {
                            FromGateway::Beat(now) => *latest.lock().unwrap() = *now,
                            FromGateway::Renew(renew) => *latest.lock().unwrap() = renew.beat,
                            _ => {}
                        }
                        let _ = tell.send(frame);
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {}
                },
                Some(frame) = outgoing.recv() => {
                    if socket.send(Message::text(frame.write())).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    Some(Link { hello, beat, frames, out, pump, frozen })
}

async fn read_request(stream: &mut TlsStream<TcpStream>) -> Option<(String, serde_json::Value)> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    let end = loop {
        let length = stream.read(&mut chunk).await.ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&chunk[..length]);
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let length: usize = length.unwrap_or(0);
    while bytes.len() < end + length {
        let more = stream.read(&mut chunk).await.ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&chunk[..more]);
    }
    Some((head, serde_json::from_slice(&bytes[end..]).unwrap_or_default()))
}

fn path(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

fn response(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

async fn listen() -> TcpListener {
    tcp::listen("127.0.0.1:0".parse().unwrap()).await.unwrap()
}
