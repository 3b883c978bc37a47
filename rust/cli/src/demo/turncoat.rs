use std::path::Path;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use ztna_api::discovery::Versions;
use ztna_api::gateway::{Beat, FromGateway, Hello, Offered, STREAM_PATH, Statement, ToGateway, Welcome};
use ztna_model::{GatewayId, OrgString, Random as _, RunId, Secret, WgPublic, base64url, secs};
use ztna_net::clock::Clock;
use ztna_net::keys::P256Key;
use ztna_net::random::SystemRandom;
use ztna_net::tls::{self, Alpn, Identity, IdentitySlot, Trust};

use super::trouble::{Trouble, While as _};

/// An enrolled gateway in Mallory's hands: it is told what a gateway is told, and keeps what it is given.
pub(crate) struct Turncoat {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    /// What the broker greets it with.
    pub(crate) welcome: Welcome,
}

/// What the product's own enrolment has left on the disk.
#[derive(Deserialize)]
struct Enrolment {
    gateway: GatewayId,
    chain: Vec<String>,
    listener: String,
}

impl Turncoat {
    /// Comes to the broker with the key and the certificate that lie in `dir`.
    pub(crate) async fn with_disk(org: &OrgString, dir: &Path) -> Result<Self, Trouble> {
        let text = std::fs::read_to_string(dir.join("enrolment.json")).while_doing(DOING)?;
        let enrolment: Enrolment = serde_json::from_str(&text).while_doing(DOING)?;
        let key = Secret::new(std::fs::read(dir.join("gateway.key")).while_doing(DOING)?);
        let mut socket = dial(org, &enrolment, &key).await?;
        let hello = FromGateway::from(hello(org, enrolment, &key)?);
        socket.send(Message::text(hello.write())).await.while_doing(DOING)?;
        let ToGateway::Welcome(welcome) = next(&mut socket, secs(5)).await? else {
            return Err(Trouble::new(DOING, "the broker does not greet it"));
        };
        Ok(Self { socket, welcome })
    }

    /// The next lease that it is offered. It never says that it holds it.
    pub(crate) async fn lease(&mut self) -> Result<Offered, Trouble> {
        loop {
            if let ToGateway::Lease(offered) = next(&mut self.socket, secs(10)).await? {
                return Ok(offered);
            }
        }
    }
}

async fn dial(
    org: &OrgString,
    enrolment: &Enrolment,
    key: &Secret<Vec<u8>>,
) -> Result<WebSocketStream<TlsStream<TcpStream>>, Trouble> {
    let chain: Option<Vec<Vec<u8>>> = enrolment.chain.iter().map(|text| base64url::decode(text)).collect();
    let chain = chain.while_doing(DOING)?.into_iter().map(CertificateDer::from).collect();
    let identity = IdentitySlot::new(Identity::from_der(chain, key).while_doing(DOING)?);
    let trust = org.root.map_or(Trust::Platform, Trust::Pinned);
    let tls = tls::client_config(&trust, Some(identity), Alpn::Http1).while_doing(DOING)?;
    let name = tls::server_name(&org.org).while_doing(DOING)?;
    let tcp = TcpStream::connect(&enrolment.listener).await.while_doing(DOING)?;
    let stream = tls::connect(tcp, name, tls, secs(5)).await.while_doing(DOING)?;
    let url = format!("wss://{}{STREAM_PATH}", enrolment.listener);
    let (socket, _) = tokio_tungstenite::client_async(url, stream).await.while_doing(DOING)?;
    Ok(socket)
}

fn hello(org: &OrgString, enrolment: Enrolment, key: &Secret<Vec<u8>>) -> Result<Hello, Trouble> {
    let signer = P256Key::from_pkcs8(key).while_doing(DOING)?;
    let run = RunId::random(&mut SystemRandom::new());
    let wg_pub = WgPublic(SystemRandom::new().array());
    let Enrolment { gateway, chain, .. } = enrolment;
    let statement = Statement { org: org.org.clone(), gw: gateway, run, wg_pub };
    Ok(Hello {
        org: org.org.clone(),
        versions: Versions::OURS,
        beat: Beat { run, now: Clock.now().as_millis() },
        wg_pub,
        statement: statement.sign(&signer, chain).while_doing(DOING)?,
        carriers: vec![],
        software: "turncoat".into(),
    })
}

async fn next(
    socket: &mut WebSocketStream<TlsStream<TcpStream>>,
    within: Duration,
) -> Result<ToGateway, Trouble> {
    loop {
        let message = timeout(within, socket.next()).await.while_doing(DOING)?;
        if let Message::Text(text) = message.while_doing(DOING)?.while_doing(DOING)? {
            return ToGateway::read(text.as_bytes()).while_doing(DOING);
        }
    }
}

const DOING: &str = "coming to the broker as a gateway";
