use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use ztna_api::device::{Ask, FromDevice, Granted, Hello, Stated, ToDevice, Wanted};
use ztna_api::discovery::Versions;
use ztna_api::statement::{self, Body, Statement};
use ztna_api::token;
use ztna_auth::{
    Call, Output, Possession, Renewal, RenewalError, Request, Response, SignIn, SignInError, SignInPlan,
};
use ztna_auth::{SignedIn, Tokens};
use ztna_model::{Decision, LinkId, Port, Protocol, Random as _, Secret, Synthetic, WgPublic, millis, secs};
use ztna_net::clock::Clock;
use ztna_net::keys::P256Key;
use ztna_net::random::SystemRandom;
use ztna_net::tls::{self, Alpn, Trust};

use crate::world::{PASSWORD, World};

const BACK: &str = "http://127.0.0.1:7777/back";

/// A person's device: a key, and what came of signing in with it.
pub(crate) struct Phone {
    pub(crate) key: Arc<P256Key>,
    http: reqwest::Client,
    pub(crate) signed_in: Option<SignedIn>,
    pub(crate) enrolment_token: Option<Secret<String>>,
    prev: Option<LinkId>,
}

pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;

impl Phone {
    pub(crate) fn new(world: &World) -> Self {
        let key = Arc::new(P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap());
        Self { key, http: world.http(), signed_in: None, enrolment_token: None, prev: None }
    }

    /// A device on which `name` has signed in.
    pub(crate) async fn of(world: &World, name: &str) -> Self {
        let mut phone = Self::new(world);
        phone.sign_in(world, name, PASSWORD).await.unwrap();
        phone
    }

    /// Signs in as the connector does, by way of the login page.
    pub(crate) async fn sign_in(
        &mut self,
        world: &World,
        name: &str,
        password: &str,
    ) -> Result<(), SignInError> {
        let plan = SignInPlan {
            org: world.org.clone(),
            redirect: BACK.into(),
            device_name: "phone".into(),
            enrolment_token: self.enrolment_token.clone(),
        };
        let possession = Possession::new(world.org.org.clone(), Arc::clone(&self.key) as _);
        let mut sign_in = SignIn::begin(plan, possession, Clock.now());
        let random = &mut SystemRandom::new();
        loop {
            match sign_in.poll().expect("a sign-in goes on until it ends") {
                Output::Call(call) => {
                    let Call { number, request } = *call;
                    let answer = self.call(request).await;
                    sign_in.handle_answer(number, Ok(answer), Clock.now(), random);
                }
                Output::OpenBrowser(address) => {
                    let Some(back) = self.log_in(&address, name, password).await else {
                        return Err(SignInError::TooLate);
                    };
                    sign_in.handle_redirect(&back, Clock.now(), random).unwrap();
                }
                Output::Done(signed_in) => {
                    self.signed_in = Some(signed_in);
                    return Ok(());
                }
                Output::Failed(error) => return Err(error),
            }
        }
    }

    /// What a browser does with the login page. Where to it is sent on, if the password is right.
    async fn log_in(&self, address: &str, name: &str, password: &str) -> Option<String> {
        let page = self.http.get(address).send().await.unwrap();
        assert_eq!(page.status(), 200);
        let cookie = page.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        let html = page.text().await.unwrap();
        let ticket = html.split_once("name=\"ticket\" value=\"").unwrap().1.split_once('"').unwrap().0;
        let form = openidconnect::url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("ticket", ticket), ("username", name), ("password", password)])
            .finish();
        let login = address.split_once("/openid/").unwrap().0.to_owned() + "/openid/login";
        let answer = self.http.post(login).header("cookie", cookie).header("content-type", FORM).body(form);
        let answer = answer.send().await.unwrap();
        answer.headers().get("location").map(|location| location.to_str().unwrap().to_owned())
    }

    pub(crate) async fn call(&self, request: Request) -> Response {
        let answer = self.http.execute(reqwest::Request::try_from(request).unwrap()).await.unwrap();
        let mut response = http::Response::builder().status(answer.status());
        response.headers_mut().unwrap().extend(answer.headers().clone());
        response.body(answer.bytes().await.unwrap().to_vec()).unwrap()
    }

    pub(crate) fn signed_in(&self) -> &SignedIn {
        self.signed_in.as_ref().unwrap()
    }

    pub(crate) fn tokens(&self) -> &Tokens {
        &self.signed_in().tokens
    }

    pub(crate) fn possession(&self) -> Possession {
        self.signed_in().possession.clone()
    }

    /// Renews the tokens with `refresh`, and keeps them.
    pub(crate) async fn renew(&mut self, refresh: Secret<String>) -> Result<Tokens, RenewalError> {
        let random = &mut SystemRandom::new();
        let mut renewal = Renewal::begin(self.possession(), refresh, Clock.now(), random);
        loop {
            match renewal.poll().unwrap() {
                Output::Call(call) => {
                    let answer = self.call(call.request).await;
                    renewal.handle_answer(call.number, Ok(answer), Clock.now(), random);
                }
                Output::Done((tokens, possession)) => {
                    let signed_in = self.signed_in.as_mut().unwrap();
                    (signed_in.tokens, signed_in.possession) = (tokens.clone(), possession);
                    return Ok(tokens);
                }
                Output::Failed(error) => return Err(error),
                Output::OpenBrowser(_) => unreachable!(),
            }
        }
    }

    /// Asks for the control stream, with whatever `change` makes of the request.
    pub(crate) async fn open_stream(
        &self,
        world: &World,
        change: impl FnOnce(&mut http::request::Parts),
    ) -> Result<Socket, Error> {
        let access = Some(&self.tokens().access);
        let random = &mut SystemRandom::new();
        let request =
            self.possession().request(http::Method::GET, token::STREAM_PATH, access, Clock.now(), random);
        let request = request
            .unwrap()
            .header("host", world.org.org.authority())
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key())
            .header("sec-websocket-protocol", "openztna.v1");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.uri = format!("wss://{}{}", world.org.org.authority(), token::STREAM_PATH).parse().unwrap();
        change(&mut parts);
        let request = http::Request::from_parts(parts, ());
        let tls = tls::client_config(&Trust::Pinned(world.root()), None, Alpn::Http1).unwrap();
        let tcp = TcpStream::connect(world.public).await.unwrap();
        let name = tls::server_name(&world.org.org).unwrap();
        let stream = tls::connect(tcp, name, tls, secs(10)).await.unwrap();
        tokio_tungstenite::client_async(request, stream).await.map(|(socket, _)| socket)
    }

    /// A stream on which it has shown to be there, and whose tunnel key the broker knows: all that a lease needs.
    pub(crate) async fn ready(&mut self, world: &World) -> Stream {
        let mut stream = self.stream(world).await;
        let ToDevice::Welcome(welcome) = stream.wait_for("welcome").await else { unreachable!() };
        let wg_pub = WgPublic(SystemRandom::new().array());
        for (nonce, body) in welcome.nonces.iter().zip([Body::Presence {}, Body::TunnelKey { wg_pub }]) {
            let (org, sid) = (world.org.org.clone(), self.tokens().sid);
            let statement = Statement { org, sid, nonce: nonce.clone(), body };
            stream.say(Stated { statement: statement::sign(&*self.key, &statement).unwrap() }).await;
        }
        stream.wait_for("resources").await;
        stream
    }

    /// A stream that was greeted.
    pub(crate) async fn stream(&mut self, world: &World) -> Stream {
        let mut stream = Stream(self.open_stream(world, |_| ()).await.unwrap());
        let next = LinkId::random(&mut SystemRandom::new());
        let hello = Hello {
            org: world.org.org.clone(),
            versions: Versions::OURS,
            prev: self.prev.replace(next),
            next,
            software: "test".into(),
            platform: "linux".into(),
        };
        stream.say(hello).await;
        stream
    }
}

/// A device's control stream.
pub(crate) struct Stream(pub(crate) Socket);

impl Stream {
    pub(crate) async fn say(&mut self, frame: impl Into<FromDevice>) {
        self.0.send(Message::text(frame.into().write())).await.unwrap();
    }

    /// Asks for `name` on TCP port 80, as its request `number`.
    pub(crate) async fn ask(&mut self, number: u64, name: &str) {
        let ask = Ask {
            request: number,
            wanted: Wanted::Name { name: name.parse().unwrap(), synthetic: Synthetic::from_index(7) },
            protocol: Protocol::Tcp,
            port: Port::new(80).unwrap(),
            carriers: vec![],
            avoid: None,
        };
        self.say(ask).await;
    }

    /// The grant that comes next.
    pub(crate) async fn granted(&mut self) -> Granted {
        let ToDevice::Granted(granted) = self.wait_for("granted").await else { unreachable!() };
        granted
    }

    /// Why the next request that is refused is.
    pub(crate) async fn refused(&mut self) -> Decision {
        let ToDevice::Refused(refused) = self.wait_for("refused").await else { unreachable!() };
        refused.decision
    }

    /// The next frame, or the close.
    pub(crate) async fn next(&mut self) -> Result<ToDevice, Option<CloseFrame>> {
        loop {
            match tokio::time::timeout(secs(10), self.0.next()).await.expect("an answer in time") {
                Some(Ok(Message::Text(text))) => return Ok(ToDevice::read(text.as_bytes()).unwrap()),
                Some(Ok(Message::Close(close))) => return Err(close),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// The first frame of type `kind`.
    pub(crate) async fn wait_for(&mut self, kind: &str) -> ToDevice {
        loop {
            let frame = self.next().await.unwrap();
            if frame.kind() == kind {
                return frame;
            }
        }
    }

    /// The code of the close that comes sooner or later.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        loop {
            match self.next().await {
                Ok(_) => {}
                Err(close) => return close.map(|close| close.code.into()),
            }
        }
    }

    /// Whether nothing comes for a moment.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(millis(100), self.0.next()).await.is_err()
    }
}

const FORM: &str = "application/x-www-form-urlencoded";
