//! A certified OpenID provider, `oidc-provider`, as the broker's external issuer.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openidconnect::url::{Url, form_urlencoded};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use ztna_api::admin::{Answer, Group, GroupClaim, Invited, Op, Session};
use ztna_api::dpop::{self, Claims};
use ztna_api::key::{self, thumbprint};
use ztna_api::token::{Admission, EXCHANGE, ID_TOKEN, NONCE_PATH, Nonce, TOKEN_PATH, id_nonce};
use ztna_auth::{Output, Possession, Request, Response, SignIn, SignInError, SignInPlan, SignedIn};
use ztna_broker::admin::Client;
use ztna_broker::config::Provider as Whose;
use ztna_broker::keys::KeyRing;
use ztna_broker::{Broker, Config, Listeners};
use ztna_model::{OrgString, Random as _, Signer as _, base64url, millis};
use ztna_net::clock::Clock;
use ztna_net::keys::P256Key;
use ztna_net::random::SystemRandom;
use ztna_net::tls::{self, Alpn, Trust};

mod browser; // a person
mod provider; // the other side
use browser::{BACK, Browser};
use provider::Provider;

/// A broker whose people sign in at the real provider.
struct Scene {
    dir: PathBuf,
    org: OrgString,
    config: Config,
    provider: Provider,
    broker: JoinHandle<()>,
    http: reqwest::Client,
}

impl Scene {
    async fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("ztna-oidc-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        let (public, gateways) = (listen().await, listen().await);
        let origin = format!("https://{}", public.local_addr().expect("an address"));
        let mut config = Config { state_dir: dir.join("state"), ..Config::default() };
        // The keys come first: the provider has to know the root when it starts, and the broker the provider.
        ztna_net::fs::create_private_dir(&config.state_dir).expect("a directory");
        let org = origin.parse().expect("an origin");
        KeyRing::open(&config.state_dir.join("keys"), &org, Clock.wall()).expect("keys");
        let root = config.state_dir.join("keys/root.crt");
        let provider = Provider::start(&dir, &format!("{origin}/v1/back-channel-logout"), &root);
        config.origin = Some(org);
        config.identity.provider = Whose::External;
        config.identity.issuer = Some(provider.issuer.clone());
        config.identity.ca_file = Some(provider.certificate.clone());
        config.identity.domains = vec!["acme.example".parse().expect("a domain")];
        let listeners = Listeners { public: vec![public], gateways: vec![gateways] };
        let broker = Broker::start_on(config.clone(), listeners).await.expect("it starts");
        let (org, broker) = (broker.org().clone(), tokio::spawn(broker.run(std::future::pending())));
        let roots =
            [&root, &provider.certificate].map(|path| Trust::from_bundle(path).expect("certificates"));
        let roots = roots.into_iter().flat_map(|trust| match trust {
            Trust::Roots(roots) => roots,
            Trust::Pinned(_) | Trust::Platform => vec![],
        });
        let tls = tls::client_config(&Trust::Roots(roots.collect()), None, Alpn::Http).expect("TLS");
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured((*tls).clone())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("a client");
        let scene = Self { dir, org, config, provider, broker, http };
        scene.invite_ana().await;
        scene
    }

    /// Ana is known by her address alone, and what the provider calls staff are staff here.
    async fn invite_ana(&self) {
        let claim = GroupClaim { issuer: self.provider.issuer.clone(), name: "staff".into() };
        let id: ztna_model::GroupId = "employees".parse().expect("an id");
        let group = Group { id, title: "Employees".into(), claims: [claim].into() };
        self.ask(Op::GroupPut { group }).await;
        let who = Invited::Email("ana@acme.example".into());
        self.ask(Op::PersonInvite { who, name: "Ana".into(), groups: Default::default() }).await;
    }

    async fn ask(&self, op: Op) -> Answer {
        let mut client = Client::connect(&self.config.admin_socket()).await.expect("a socket");
        client.ask(op).await.expect("an answer")
    }

    async fn sessions(&self) -> Vec<Session> {
        let Answer::Sessions { sessions } = self.ask(Op::Sessions {}).await else { panic!("no sessions") };
        sessions
    }

    fn browser(&self) -> Browser {
        Browser::new(self.http.clone())
    }

    /// Signs in as the connector does.
    async fn sign_in(&self, browser: &Browser, login: &str) -> Result<SignedIn, SignInError> {
        let plan = SignInPlan {
            org: self.org.clone(),
            redirect: BACK.into(),
            device_name: "phone".into(),
            enrolment_token: None,
        };
        let possession = Possession::new(self.org.org.clone(), Arc::new(device()));
        let mut sign_in = SignIn::begin(plan, possession, Clock.now());
        let random = &mut SystemRandom::new();
        loop {
            match sign_in.poll().expect("it goes on until it ends") {
                Output::Call(call) => {
                    let answer = self.call(call.request).await;
                    sign_in.handle_answer(call.number, Ok(answer), Clock.now(), random);
                }
                Output::OpenBrowser(address) => {
                    let back = browser.sign_in(&address, login).await;
                    sign_in.handle_redirect(&back, Clock.now(), random).expect("a good answer");
                }
                Output::Done(signed_in) => return Ok(signed_in),
                Output::Failed(error) => return Err(error),
            }
        }
    }

    async fn call(&self, request: Request) -> Response {
        let request = reqwest::Request::try_from(request).expect("a request");
        let answer = self.http.execute(request).await.expect("an answer");
        let mut response = http::Response::builder().status(answer.status());
        response.headers_mut().expect("headers").extend(answer.headers().clone());
        response.body(answer.bytes().await.expect("a body").to_vec()).expect("a response")
    }

    async fn nonce(&self) -> Nonce {
        let answer = self.http.post(format!("{}{NONCE_PATH}", self.org.org)).send().await.expect("an answer");
        serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("a nonce")
    }

    /// The ID token that `client` gets from the provider for Ana, with `nonce` in it.
    async fn id_token(&self, client: &str, nonce: &str) -> String {
        let verifier = base64url::encode(SystemRandom::new().array::<32>());
        let challenge = base64url::encode(key::sha256(verifier.as_bytes()));
        let query = form(&[
            ("client_id", client),
            ("redirect_uri", BACK),
            ("response_type", "code"),
            ("scope", "openid profile email groups"),
            ("nonce", nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let address = format!("{}/auth?{query}", self.provider.issuer);
        let back = Url::parse(&self.browser().sign_in(&address, "ana").await).expect("an address");
        let code = back.query_pairs().find(|(name, _)| name == "code").expect("a code").1;
        let body = form(&[
            ("grant_type", "authorization_code"),
            ("client_id", client),
            ("code", &code),
            ("redirect_uri", BACK),
            ("code_verifier", &verifier),
        ]);
        let request = self.http.post(format!("{}/token", self.provider.issuer)).header("content-type", FORM);
        let answer = request.body(body).send().await.expect("an answer").bytes().await.expect("a body");
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        answer["id_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Brings an ID token to the broker, with a good proof of `device`. The error, if it is refused.
    async fn exchange(&self, device: &P256Key, id_token: &str, salt: &str) -> Result<(), String> {
        let Nonce { nonce, time } = self.nonce().await;
        let claims = Claims {
            jti: base64url::encode(SystemRandom::new().array::<16>()),
            htm: "POST".into(),
            htu: format!("{}{TOKEN_PATH}", self.org.org),
            iat: time.as_secs(),
            nonce: Some(nonce),
            ath: None,
        };
        let body = form(&[
            ("grant_type", EXCHANGE),
            ("subject_token", id_token),
            ("subject_token_type", ID_TOKEN),
            ("salt", salt),
            ("device_name", "phone"),
        ]);
        let request = self.http.post(&claims.htu).header("content-type", FORM);
        let request = request.header("dpop", dpop::prove(device, &claims).expect("a proof"));
        let answer = request.body(body).send().await.expect("an answer").bytes().await.expect("a body");
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        match answer["error"].as_str() {
            Some(error) => {
                Err(format!("{error}: {}", answer["error_description"].as_str().unwrap_or_default()))
            }
            None => Ok(()),
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.broker.abort();
        let _ = std::fs::remove_dir_all(&self.dir); // it lies in the directory for such
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a port")
}

fn device() -> P256Key {
    P256Key::from_pkcs8(&P256Key::generate().expect("a key")).expect("a key")
}

fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

#[tokio::test]
async fn p3_1_a_person_signs_in_at_the_real_provider() {
    let scene = Scene::new().await;
    let signed_in = scene.sign_in(&scene.browser(), "ana").await.expect("she is invited");
    assert_eq!(signed_in.tokens.admission, Admission::Open);
    assert_eq!(signed_in.discovery.issuer, scene.provider.issuer);
    let Answer::People { people, invitations } = scene.ask(Op::People {}).await else { panic!("no people") };
    assert_eq!(invitations, [], "the invitation was followed");
    assert_eq!(
        (people[0].id.issuer.as_str(), people[0].id.subject.as_str()),
        (&*scene.provider.issuer, "ana")
    );
    let groups: Vec<_> = people[0].groups.iter().map(ToString::to_string).collect();
    assert_eq!(groups, ["employees"], "by the provider's word");
    assert_eq!(scene.sessions().await.len(), 1);
}

#[tokio::test]
async fn p3_7_signing_out_at_the_real_provider_ends_the_sessions_of_that_sign_in() {
    let scene = Scene::new().await;
    let (one, other) = (scene.browser(), scene.browser());
    let ended = scene.sign_in(&one, "ana").await.expect("signed in").tokens.sid;
    let stays = scene.sign_in(&other, "ana").await.expect("signed in").tokens.sid;
    assert_eq!(scene.sessions().await.len(), 2);
    one.sign_out(&scene.provider.issuer).await;
    let mut left = scene.sessions().await;
    for _ in 0..100 {
        if left.len() == 1 {
            break;
        }
        tokio::time::sleep(millis(20)).await;
        left = scene.sessions().await;
    }
    assert_eq!(left.iter().map(|session| session.sid).collect::<Vec<_>>(), [stays], "and not {ended}");
}

#[tokio::test]
async fn a01_the_real_provider_s_id_tokens_that_are_refused() {
    let scene = Scene::new().await;
    let (device, mallory) = (device(), device());
    let salt = scene.nonce().await.nonce;
    let nonce = id_nonce(&scene.org.org, &thumbprint(&device.public_key()), &salt);
    let good = scene.id_token("openztna", &nonce).await;
    let others = scene.id_token("other", &nonce).await;
    let (signed, signature) = good.rsplit_once('.').expect("a JWT");
    let (_, payload) = signed.split_once('.').expect("a JWT");
    let header = |text: &str| base64url::encode(text);
    let rows = [
        ("another client's", &device, others, "invalid_grant"),
        ("another device's", &mallory, good.clone(), "invalid_grant"),
        (
            "without a signature",
            &device,
            format!("{}.{payload}.", header(r#"{"alg":"none"}"#)),
            "invalid_grant",
        ),
        (
            "with another header",
            &device,
            format!("{}.{payload}.{signature}", header(r#"{"alg":"RS256"}"#)),
            "invalid_grant",
        ),
        (
            "with a forged signature",
            &device,
            format!("{signed}.{}", signature.chars().rev().collect::<String>()),
            "invalid_grant",
        ),
    ];
    for (what, key, token, expected) in rows {
        let refused = scene.exchange(key, &token, &salt).await.expect_err(what);
        assert!(refused.starts_with(expected), "{what}: {refused}");
    }
    let stale = scene.exchange(&device, &good, &scene.nonce().await.nonce).await.expect_err("another salt");
    assert!(stale.starts_with("invalid_grant"), "{stale}");
    assert_eq!(scene.exchange(&device, &good, &salt).await, Ok(()), "and the good one is taken");
    let replayed = scene.exchange(&device, &good, &salt).await.expect_err("used before");
    assert!(replayed.starts_with("invalid_grant"), "{replayed}");
    assert_eq!(scene.sessions().await.len(), 1);
}

#[tokio::test]
async fn p2_1_whom_the_real_provider_knows_and_nobody_invited_stays_outside() {
    let scene = Scene::new().await;
    assert!(scene.sign_in(&scene.browser(), "ana").await.is_ok(), "the invitation is hers");
    // The provider gives everybody the same address: it is followed once.
    let refused = scene.sign_in(&scene.browser(), "mallory").await;
    assert!(matches!(refused, Err(SignInError::Refused(_))), "{refused:?}");
}

const FORM: &str = "application/x-www-form-urlencoded";
