use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use http::StatusCode;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::{Error, Message};
use ztna_api::discovery::Versions;
use ztna_api::gateway::{
    self, Beat, ENROL_PATH, Enrolled, EnrolmentToken, FloorHeld, FromGateway, Held, Hello, RENEW_PATH,
    STREAM_PATH, ToGateway,
};
use ztna_api::keyset::KeySet;
use ztna_api::lease;
use ztna_broker::keys::{GatewayRequest, KeyRing};
use ztna_model::{GatewayId, Lease, LeaseId, RunId, Secret, WallTime, WgPublic, base64url, secs};
use ztna_net::clock::Clock;
use ztna_net::keys::P256Key;
use ztna_net::random::SystemRandom;
use ztna_net::tls::{self, Alpn, GatewayName, Identity, IdentitySlot, Trust};

use crate::phone::Socket;
use crate::world::World;

/// Somebody who has a key and would be a gateway.
pub(crate) struct Gate {
    pkcs8: Secret<Vec<u8>>,
    pub(crate) enrolled: Option<Enrolled>,
    run: RunId,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            pkcs8: P256Key::generate().unwrap(),
            enrolled: None,
            run: RunId::random(&mut SystemRandom::new()),
        }
    }

    /// One that the broker has certified.
    pub(crate) async fn of(world: &World, token: &Secret<String>) -> Self {
        let mut gate = Self::new();
        let (status, body) = gate.enrol(world, token).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        gate
    }

    /// The process starts again: it holds nothing of before.
    pub(crate) fn restart(&mut self) {
        self.run = RunId::random(&mut SystemRandom::new());
    }

    pub(crate) fn key(&self) -> P256Key {
        P256Key::from_pkcs8(&self.pkcs8).unwrap()
    }

    /// The key's bytes.
    pub(crate) const fn pkcs8(&self) -> &Secret<Vec<u8>> {
        &self.pkcs8
    }

    pub(crate) fn id(&self) -> GatewayId {
        self.enrolled.as_ref().unwrap().gateway.clone()
    }

    /// A certificate request that asks for more than anybody gets.
    pub(crate) fn request(&self) -> Vec<u8> {
        let pair = KeyPair::try_from(&PrivatePkcs8KeyDer::from(self.pkcs8.expose().as_slice())).unwrap();
        let params = CertificateParams::new(["admin.acme.example".to_owned()]).unwrap();
        params.serialize_request(&pair).unwrap().der().to_vec()
    }

    pub(crate) async fn enrol(&mut self, world: &World, token: &Secret<String>) -> (StatusCode, Value) {
        let token: EnrolmentToken = token.expose().parse().unwrap();
        assert_eq!(token.organisation, world.org);
        let body = json!({
            "token": token.secret.expose(), "request": base64url::encode(self.request()), "software": "test",
        });
        let answer = world.http().post(world.url(ENROL_PATH)).json(&body).send().await.unwrap();
        let status = answer.status();
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        self.enrolled = serde_json::from_value(body.clone()).ok();
        (status, body)
    }

    /// The certificate that the broker gave it.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        base64url::decode(&self.enrolled.as_ref().unwrap().chain[0]).unwrap().into()
    }

    /// A certificate of its key for `name`, by whoever certifies gateways in `keys`, as if it were `now`.
    pub(crate) fn certified_by(
        &self,
        keys: &KeyRing,
        name: &GatewayName,
        now: WallTime,
    ) -> CertificateDer<'static> {
        let request = GatewayRequest::from_der(&self.request()).unwrap();
        keys.gateway_ca().gateway(name, &request, now, &mut SystemRandom::new()).unwrap()
    }

    /// What it presents with `certificate`.
    pub(crate) fn identity(&self, certificate: CertificateDer<'static>) -> Arc<IdentitySlot> {
        IdentitySlot::new(Identity::from_der(vec![certificate], &self.pkcs8).unwrap())
    }

    /// Asks for another certificate for the key of `request`, under `certificate`.
    pub(crate) async fn renew(
        &self,
        world: &World,
        certificate: CertificateDer<'static>,
        request: &[u8],
    ) -> Result<(StatusCode, Value), reqwest::Error> {
        let body = json!({"request": base64url::encode(request)});
        let url = format!("https://{}{RENEW_PATH}", world.gateways);
        let answer = self.http(world, certificate).post(url).json(&body).send().await?;
        Ok((answer.status(), serde_json::from_slice(&answer.bytes().await?).unwrap()))
    }

    /// An HTTP client that presents `certificate`.
    pub(crate) fn http(&self, world: &World, certificate: CertificateDer<'static>) -> reqwest::Client {
        let trust = Trust::Pinned(world.root());
        let tls = tls::client_config(&trust, Some(self.identity(certificate)), Alpn::Http).unwrap();
        let builder = reqwest::Client::builder().tls_backend_preconfigured((*tls).clone());
        builder.no_proxy().build().unwrap()
    }

    /// Asks for a control stream under `certificate`.
    pub(crate) async fn open_stream(
        &self,
        world: &World,
        certificate: CertificateDer<'static>,
    ) -> Result<Socket, Error> {
        let trust = Trust::Pinned(world.root());
        let tls = tls::client_config(&trust, Some(self.identity(certificate)), Alpn::Http1).unwrap();
        let tcp = TcpStream::connect(world.gateways).await.unwrap();
        let name = tls::server_name(&world.org.org).unwrap();
        let stream = tls::connect(tcp, name, tls, secs(10)).await.unwrap();
        let request = http::Request::get(format!("wss://{}{STREAM_PATH}", world.gateways))
            .header("host", world.gateways.to_string())
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key())
            .header("sec-websocket-protocol", "openztna.v1");
        let outcome = tokio_tungstenite::client_async(request.body(()).unwrap(), stream).await;
        outcome.map(|(socket, _)| socket)
    }

    /// A control stream on which it has said hello.
    pub(crate) async fn connect(&self, world: &World) -> GateStream {
        self.connect_saying(world, self.id()).await
    }

    /// A control stream on which it has said hello in the name of `gw`.
    pub(crate) async fn connect_saying(&self, world: &World, gw: GatewayId) -> GateStream {
        let socket = self.open_stream(world, self.certificate()).await.unwrap();
        let set = KeySet::verify(&self.enrolled.as_ref().unwrap().keys, &world.org.org, &world.root(), 1);
        let mut stream = GateStream { socket, run: self.run, keys: set.unwrap() };
        let wg_pub = WgPublic([5; 32]);
        let statement = gateway::Statement { org: world.org.org.clone(), gw, run: self.run, wg_pub };
        let statement = statement.sign(&self.key(), self.enrolled.as_ref().unwrap().chain.clone());
        let hello = Hello {
            org: world.org.org.clone(),
            versions: Versions::OURS,
            beat: stream.beat(),
            wg_pub,
            statement: statement.unwrap(),
            carriers: vec![],
            software: "test".into(),
        };
        stream.say(hello).await;
        stream
    }
}

/// A gateway's control stream.
pub(crate) struct GateStream {
    pub(crate) socket: Socket,
    run: RunId,
    keys: KeySet,
}

impl GateStream {
    pub(crate) async fn say(&mut self, frame: impl Into<FromGateway>) {
        self.socket.send(Message::text(frame.into().write())).await.unwrap();
    }

    pub(crate) fn beat(&self) -> Beat {
        Beat { run: self.run, now: 1_000_000 + Clock.now().as_millis() }
    }

    /// The next frame that is no request for a beat (which is answered), or the code of the close.
    pub(crate) async fn next(&mut self) -> Result<ToGateway, Option<u16>> {
        loop {
            match tokio::time::timeout(secs(20), self.socket.next()).await.expect("a frame in time") {
                Some(Ok(Message::Text(text))) => {
                    let frame = ToGateway::read(text.as_bytes()).unwrap();
                    if !matches!(frame, ToGateway::BeatPlease(_)) {
                        return Ok(frame);
                    }
                    self.say(self.beat()).await;
                }
                Some(Ok(Message::Close(close))) => return Err(close.map(|close| close.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// The first frame of type `kind`.
    pub(crate) async fn wait_for(&mut self, kind: &str) -> ToGateway {
        loop {
            let frame = self.next().await.unwrap();
            if frame.kind() == kind {
                return frame;
            }
        }
    }

    /// Waits until it is welcome, and returns the leases that are listed.
    pub(crate) async fn listed(&mut self) -> Vec<LeaseId> {
        let ToGateway::List(list) = self.wait_for("list").await else { unreachable!() };
        list.live
    }

    /// The lease that is offered next. It is sound, and not yet said to be held.
    pub(crate) async fn offered(&mut self) -> Lease {
        let ToGateway::Lease(offered) = self.wait_for("lease").await else { unreachable!() };
        self.verified(&offered.lease)
    }

    /// The lease in `text`, which a lease key of the organisation has signed.
    pub(crate) fn verified(&self, text: &str) -> Lease {
        lease::verify(text, &self.keys).unwrap()
    }

    /// Takes the lease that is offered next.
    pub(crate) async fn takes(&mut self) -> Lease {
        let lease = self.offered().await;
        self.say(Held { lease: lease.id }).await;
        lease
    }

    /// The floor that comes next, not yet acknowledged.
    pub(crate) async fn floor(&mut self) -> gateway::Floor {
        let ToGateway::Floor(floor) = self.wait_for("floor").await else { unreachable!() };
        floor
    }

    pub(crate) async fn holds(&mut self, floor: &gateway::Floor) {
        self.say(FloorHeld { sid: floor.sid, epoch: floor.epoch }).await;
    }
}
