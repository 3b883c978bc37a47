use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::Method;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::{Request, generate_key};
use ztna_api::device::{Ask, FromDevice, Hello, Stated, ToDevice, Wanted};
use ztna_api::discovery::Versions;
use ztna_api::dpop::{self, Claims};
use ztna_api::statement::{self, Body, Statement};
use ztna_api::token::{NONCE_PATH, Nonce, STREAM_PATH, TOKEN_PATH, TokenError, TokenResponse};
use ztna_connector::keep::Keep;
use ztna_model::{
    LinkId, OrgString, Port, Protocol, Random as _, SessionId, Synthetic, WgPublic, base64url, secs,
};
use ztna_net::clock::Clock;
use ztna_net::keys::P256Key;
use ztna_net::random::SystemRandom;
use ztna_net::tls::{self, Alpn, Trust};

use super::browser;
use super::trouble::{Trouble, While as _};

/// A client that nobody built for the broker: it has what lies on a device's disk, and says what it likes.
pub(crate) struct Modified {
    org: OrgString,
    http: reqwest::Client,
    pub(crate) key: Arc<P256Key>,
    pub(crate) loot: Loot,
}

/// What a connector's file says of the session.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Loot {
    pub(crate) refresh: String,
    sid: SessionId,
    prev: Option<LinkId>,
}

impl Modified {
    /// A client with what lies in `dir`, a connector's directory.
    pub(crate) fn with_disk(org: &OrgString, dir: &Path) -> Result<Self, Trouble> {
        let doing = "reading what lies on the disk";
        let text = std::fs::read_to_string(dir.join("session.json")).while_doing(doing)?;
        let loot = serde_json::from_str(&text).while_doing(doing)?;
        let key = Keep::open(dir).and_then(|keep| keep.device_key(&org.org)).while_doing(doing)?;
        Ok(Self { org: org.clone(), http: browser::http(org)?, key, loot })
    }

    /// The same with another device key: what a thief has who could not take the key along.
    pub(crate) fn with_key_of_its_own(mut self) -> Result<Self, Trouble> {
        let key = P256Key::generate().and_then(|document| P256Key::from_pkcs8(&document));
        self.key = Arc::new(key.while_doing("making a key")?);
        Ok(self)
    }

    /// A proof for one request, over a nonce of the broker's.
    pub(crate) async fn proof(
        &self,
        method: &Method,
        path: &str,
        access: Option<&str>,
    ) -> Result<String, Trouble> {
        let doing = "asking for a nonce";
        let answer =
            self.http.post(format!("{}{NONCE_PATH}", self.org.org)).send().await.while_doing(doing)?;
        let nonce: Nonce = answer.json().await.while_doing(doing)?;
        let jti: [u8; 16] = SystemRandom::new().array();
        let claims = Claims {
            jti: base64url::encode(jti),
            htm: method.to_string(),
            htu: format!("{}{path}", self.org.org),
            iat: nonce.time.as_secs(),
            nonce: Some(nonce.nonce),
            ath: access.map(dpop::token_hash),
        };
        dpop::prove(&*self.key, &claims).while_doing("signing a proof")
    }

    /// Asks for new tokens by a refresh token, with this very proof.
    pub(crate) async fn refresh(
        &self,
        token: &str,
        proof: &str,
    ) -> Result<Result<TokenResponse, TokenError>, Trouble> {
        let doing = "asking for tokens";
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let request =
            self.http.post(format!("{}{TOKEN_PATH}", self.org.org)).header("dpop", proof).form(&form);
        let answer = request.send().await.while_doing(doing)?;
        let accepted = answer.status().is_success();
        let body = answer.bytes().await.while_doing(doing)?;
        if accepted {
            serde_json::from_slice(&body).map(Ok).while_doing(doing)
        } else {
            serde_json::from_slice(&body).map(Err).while_doing(doing)
        }
    }

    /// Renews the session's tokens.
    pub(crate) async fn renew(&mut self) -> Result<TokenResponse, Trouble> {
        let proof = self.proof(&Method::POST, TOKEN_PATH, None).await?;
        let answer = self.refresh(&self.loot.refresh, &proof).await?;
        let tokens = answer.map_err(|error| Trouble::new("renewing tokens", format!("{:?}", error.error)))?;
        self.loot.refresh.clone_from(&tokens.refresh_token);
        Ok(tokens)
    }

    /// Opens the session's control stream, and shows what a device shows before it may ask.
    pub(crate) async fn stream(&mut self) -> Result<Stream, Trouble> {
        let doing = "opening a control stream";
        let tokens = self.renew().await?;
        let proof = self.proof(&Method::GET, STREAM_PATH, Some(&tokens.access_token)).await?;
        let authority = self.org.org.authority();
        let request = Request::builder()
            .uri(format!("wss://{authority}{STREAM_PATH}"))
            .header("host", authority)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key())
            .header("sec-websocket-protocol", "openztna.v1")
            .header("authorization", format!("DPoP {}", tokens.access_token))
            .header("dpop", proof)
            .body(())
            .while_doing(doing)?;
        let trust = self.org.root.map_or(Trust::Platform, Trust::Pinned);
        let tls = tls::client_config(&trust, None, Alpn::Http1).while_doing(doing)?;
        let name = tls::server_name(&self.org.org).while_doing(doing)?;
        let tcp = TcpStream::connect(authority).await.while_doing(doing)?;
        let stream = tls::connect(tcp, name, tls, secs(5)).await.while_doing(doing)?;
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.while_doing(doing)?;
        let mut stream = Stream { socket, asked: FIRST_REQUEST };
        self.introduce(&mut stream).await?;
        Ok(stream)
    }

    /// Hello, and proof that the device key is here.
    async fn introduce(&self, stream: &mut Stream) -> Result<(), Trouble> {
        let hello = Hello {
            org: self.org.org.clone(),
            versions: Versions::OURS,
            prev: self.loot.prev,
            next: LinkId::random(&mut SystemRandom::new()),
            software: "modified".into(),
            platform: "linux".into(),
        };
        stream.say(hello).await?;
        let nonces = loop {
            if let ToDevice::Welcome(welcome) = stream.next().await? {
                break welcome.nonces;
            }
        };
        let wg_pub = WgPublic(SystemRandom::new().array());
        for (body, nonce) in [Body::TunnelKey { wg_pub }, Body::Presence {}].into_iter().zip(nonces) {
            let statement = Statement { org: self.org.org.clone(), sid: self.loot.sid, nonce, body };
            let statement = statement::sign(&*self.key, &statement).while_doing("signing a statement")?;
            stream.say(Stated { statement }).await?;
        }
        Ok(())
    }
}

/// A control stream on which anything can be said.
pub(crate) struct Stream {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    asked: u64,
}

/// An answer to a question about a name, without its number, and how long it took.
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) after: Duration,
}

impl Stream {
    /// Asks for a lease for what stands for `wanted`, and waits for the answer.
    pub(crate) async fn ask(&mut self, wanted: Wanted, port: Port) -> Result<Answer, Trouble> {
        self.asked += 1;
        let request = self.asked;
        let ask = Ask { request, wanted, protocol: Protocol::Tcp, port, carriers: vec![], avoid: None };
        let text = FromDevice::from(ask).write();
        let number = format!("\"request\":{request}");
        let began = Clock.now();
        self.socket.send(Message::text(text)).await.while_doing(ASKING)?;
        loop {
            let text = self.text().await?;
            let after = Clock.now().since(began);
            if text.contains(&number) {
                return Ok(Answer { text: text.replace(&number, "\"request\":…"), after });
            }
        }
    }

    async fn say(&mut self, frame: impl Into<FromDevice>) -> Result<(), Trouble> {
        self.socket.send(Message::text(frame.into().write())).await.while_doing(ASKING)
    }

    async fn next(&mut self) -> Result<ToDevice, Trouble> {
        let text = self.text().await?;
        ToDevice::read(text.as_bytes()).while_doing("reading the broker's answer")
    }

    async fn text(&mut self) -> Result<String, Trouble> {
        loop {
            let message = timeout(secs(10), self.socket.next()).await.while_doing(ASKING)?;
            match message.while_doing(ASKING)?.while_doing(ASKING)? {
                Message::Text(text) => return Ok(text.to_string()),
                Message::Close(_) => return Err(Trouble::new(ASKING, "the broker closed the stream")),
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}

/// A name, with stand-in addresses as a device would give it.
pub(crate) fn name(text: &str) -> Result<Wanted, Trouble> {
    let name = text.parse().while_doing("reading a name")?;
    Ok(Wanted::Name { name, synthetic: Synthetic::from_index(1) })
}

const ASKING: &str = "asking the broker directly";
/// All request numbers have as many digits.
const FIRST_REQUEST: u64 = 1_000_000;
