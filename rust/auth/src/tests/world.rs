//! An organisation, its provider and a browser, all in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Call, Output, Possession, Response, SignIn, SignInError, SignInPlan, SignedIn};
use openidconnect::url::Url;
use serde_json::{Value, json};
use ztna_api::discovery::{Discovery, Versions};
use ztna_api::dpop;
use ztna_api::key;
use ztna_api::keyset::KeySet;
use ztna_api::token::id_nonce;
use ztna_model::{OrgId, Random, RootHash, Signer, Time, WallTime, base64url, secs};
use ztna_net::keys::P256Key;

const ORG: &str = "https://acme.example";
const ISSUER: &str = "https://id.example";
const BACK: &str = "http://127.0.0.1:7777/back";
const NOW_S: u64 = 1_800_000_000;

/// The one thing that is not as it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Deviation {
    None,
    Unsigned,
    AlgorithmNone,
    MacWithPublicKey,
    EmbeddedKey,
    OtherKey,
    WrongAudience,
    SecondAudience,
    WrongIssuerInToken,
    WrongNonce,
    ExpiredBy61s,
    ExpiredBy59s,
    Issued11MinutesAgo,
    NoIdToken,
    MetadataOfAnotherIssuer,
    RedirectFromAnotherIssuer,
    RedirectWithoutIssuer,
    DiscoveryOfAnotherOrg,
    KeysOfAnotherRoot,
    NewerVersionsOnly,
    DiscoveryIsHtml,
    PersonRefused,
    CodeRefused,
}

pub(super) struct World {
    deviation: Deviation,
    root: P256Key,
    provider: P256Key,
    device: Arc<P256Key>,
    /// Codes given out: challenge and nonce of the request that each belongs to.
    codes: BTreeMap<String, (String, String)>,
    nonces: u32,
    pub(super) proofs_verified: u32,
}

impl World {
    pub(super) fn new(deviation: Deviation) -> Self {
        let device = Arc::new(fresh_key());
        Self {
            deviation,
            root: fresh_key(),
            provider: fresh_key(),
            device,
            codes: BTreeMap::new(),
            nonces: 0,
            proofs_verified: 0,
        }
    }

    pub(super) fn now(&self) -> Time {
        Time::ZERO + secs(100)
    }

    pub(super) fn random(&self) -> impl Random + use<> {
        ztna_net::random::SystemRandom::new()
    }

    pub(super) fn root(&self) -> RootHash {
        key::root_hash(&self.root.public_key())
    }

    pub(super) fn begin(&self) -> SignIn {
        let org: OrgId = ORG.parse().unwrap();
        let plan = SignInPlan {
            org: format!("{ORG}#{}", self.root()).parse().unwrap(),
            redirect: BACK.into(),
            device_name: "test".into(),
            enrolment_token: None,
        };
        SignIn::begin(plan, Possession::new(org, self.device.clone()), self.now())
    }

    pub(super) fn sign_in(&mut self) -> Result<SignedIn, SignInError> {
        let mut sign_in = self.begin();
        self.finish(&mut sign_in)
    }

    /// Answers calls until the browser is wanted.
    pub(super) fn until_browser(&mut self, sign_in: &mut SignIn) -> String {
        loop {
            match sign_in.poll().expect("a sign-in goes on until the browser") {
                Output::Call(call) => self.answer(sign_in, *call),
                Output::OpenBrowser(address) => return address,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Answers everything until the end.
    pub(super) fn finish(&mut self, sign_in: &mut SignIn) -> Result<SignedIn, SignInError> {
        loop {
            match sign_in.poll().expect("a sign-in ends in one way or the other") {
                Output::Call(call) => self.answer(sign_in, *call),
                Output::OpenBrowser(address) => {
                    let back = self.log_in(&address);
                    // A refusal comes out of `poll` as well.
                    sign_in.handle_redirect(&back, self.now(), &mut self.random()).ok();
                }
                Output::Done(signed_in) => return Ok(signed_in),
                Output::Failed(error) => return Err(error),
            }
        }
    }

    /// What the provider's login page answers to the browser that opened `address`.
    pub(super) fn log_in(&mut self, address: &str) -> String {
        assert_eq!(field(address, "code_challenge_method"), "S256");
        assert_eq!(field(address, "response_type"), "code");
        assert_eq!(field(address, "redirect_uri"), BACK);
        let code = format!("code-{}", self.codes.len());
        self.codes.insert(code.clone(), (field(address, "code_challenge"), field(address, "nonce")));
        let issuer = match self.deviation {
            Deviation::RedirectFromAnotherIssuer => "&iss=https://evil.example".to_owned(),
            Deviation::RedirectWithoutIssuer => String::new(),
            _ => format!("&iss={ISSUER}"),
        };
        format!("{BACK}?code={code}&state={}{issuer}", field(address, "state"))
    }

    fn answer(&mut self, sign_in: &mut SignIn, call: Call) {
        let uri = call.request.uri().to_string();
        let answer = match uri.as_str() {
            "https://acme.example/.well-known/openztna" => self.discovery(),
            "https://id.example/.well-known/openid-configuration" => ok(&self.metadata()),
            "https://id.example/jwks" => ok(&json!({"keys": [self.provider.public_key()]})),
            "https://id.example/token" => self.redeem(call.request.body()),
            "https://acme.example/v1/nonce" => {
                self.nonces += 1;
                ok(&json!({"nonce": format!("broker-nonce-{}", self.nonces), "time": NOW_S * 1000}))
            }
            "https://acme.example/v1/token" => self.exchange(&call.request),
            other => panic!("nothing is at {other}"),
        };
        sign_in.handle_answer(call.number, Ok(answer), self.now(), &mut self.random());
    }

    fn discovery(&self) -> Response {
        if self.deviation == Deviation::DiscoveryIsHtml {
            return status(404, "<html>not here</html>");
        }
        let org: OrgId = ORG.parse().unwrap();
        let keys = KeySet { org: org.clone(), seq: 1, keys: vec![] };
        let other_root = fresh_key();
        let root = if self.deviation == Deviation::KeysOfAnotherRoot { &other_root } else { &self.root };
        let answered =
            if self.deviation == Deviation::DiscoveryOfAnotherOrg { "https://evil.example" } else { ORG };
        let newer = Versions { min: 1000, max: 1001 };
        let versions = if self.deviation == Deviation::NewerVersionsOnly { newer } else { Versions::OURS };
        let discovery = Discovery {
            org: answered.parse().unwrap(),
            title: "Acme".into(),
            issuer: ISSUER.into(),
            client_id: "openztna".into(),
            scopes: vec!["openid".into(), "profile".into()],
            keys: keys.sign(root).unwrap(),
            versions,
            time: WallTime::from_secs(NOW_S),
        };
        ok(&serde_json::to_value(discovery).unwrap())
    }

    fn metadata(&self) -> Value {
        let evil = self.deviation == Deviation::MetadataOfAnotherIssuer;
        json!({
            "issuer": if evil { "https://evil.example" } else { ISSUER },
            "authorization_endpoint": "https://id.example/authorize",
            "token_endpoint": "https://id.example/token",
            "jwks_uri": "https://id.example/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "authorization_response_iss_parameter_supported": true,
        })
    }

    fn redeem(&mut self, form: &[u8]) -> Response {
        let form = form_fields(form);
        let (challenge, nonce) = self.codes.remove(&form["code"]).expect("a code is used once");
        let made = base64url::encode(key::sha256(form["code_verifier"].as_bytes()));
        if made != challenge || self.deviation == Deviation::CodeRefused {
            return status(400, r#"{"error":"invalid_grant"}"#);
        }
        let mut tokens = json!({"access_token": "a", "token_type": "Bearer", "refresh_token": "idp-refresh"});
        if self.deviation != Deviation::NoIdToken {
            tokens["id_token"] = json!(self.id_token(&nonce));
        }
        ok(&tokens)
    }

    fn id_token(&self, nonce: &str) -> String {
        use Deviation as D;
        let mut claims = json!({
            "iss": ISSUER, "sub": "ana", "aud": "openztna", "nonce": nonce, "iat": NOW_S, "exp": NOW_S + 300,
        });
        let other = fresh_key();
        let mut header = json!({"alg": "ES256", "typ": "JWT"});
        let mut signer = &self.provider;
        match self.deviation {
            D::AlgorithmNone => header["alg"] = json!("none"),
            D::MacWithPublicKey => header["alg"] = json!("HS256"),
            D::EmbeddedKey => {
                header["jwk"] = json!(other.public_key());
                signer = &other;
            }
            D::OtherKey => signer = &other,
            D::WrongAudience => claims["aud"] = json!("another"),
            D::SecondAudience => claims["aud"] = json!(["openztna", "another"]),
            D::WrongIssuerInToken => claims["iss"] = json!("https://evil.example"),
            D::WrongNonce => claims["nonce"] = json!("another"),
            D::ExpiredBy61s => claims["exp"] = json!(NOW_S - 61),
            D::ExpiredBy59s => claims["exp"] = json!(NOW_S - 59),
            D::Issued11MinutesAgo => claims["iat"] = json!(NOW_S - 660),
            _ => {}
        }
        let part = |value: &Value| base64url::encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = match self.deviation {
            D::Unsigned | D::AlgorithmNone => vec![],
            D::MacWithPublicKey => {
                let key =
                    ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.provider.public_key().to_bytes());
                ring::hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
            }
            _ => signer.sign(signed.as_bytes()).unwrap(),
        };
        format!("{signed}.{}", base64url::encode(signature))
    }

    fn exchange(&mut self, request: &crate::Request) -> Response {
        let proof = request.headers()["dpop"].to_str().unwrap();
        let uri = format!("{ORG}/v1/token");
        let now = WallTime::from_secs(NOW_S);
        let expected = dpop::Expected { method: "POST", uri: &uri, access_token: None, now };
        let proof = dpop::verify(proof, expected).unwrap();
        self.proofs_verified += 1;
        if proof.nonce.as_deref() != Some("fresh-nonce") {
            let mut answer = status(400, r#"{"error":"use_dpop_nonce"}"#);
            answer.headers_mut().insert("dpop-nonce", "fresh-nonce".parse().unwrap());
            return answer;
        }
        if self.deviation == Deviation::PersonRefused {
            return status(400, r#"{"error":"access_denied","reason":"not-entitled"}"#);
        }
        let form = form_fields(request.body());
        assert!(form["salt"].starts_with("broker-nonce-"));
        // What the provider signed commits to organisation, device key and salt: nobody else can use it.
        let payload = form["subject_token"].split('.').nth(1).and_then(base64url::decode).unwrap();
        let claims: Value = serde_json::from_slice(&payload).unwrap();
        let committed = id_nonce(&ORG.parse().unwrap(), &proof.jkt, &form["salt"]);
        assert_eq!(claims["nonce"], committed.as_str());
        ok(&json!({
            "access_token": "access-1", "token_type": "DPoP", "expires_in": 300, "refresh_token": "refresh-1",
            "sid": "01".repeat(16), "device": "02".repeat(16), "state": "open",
        }))
    }
}

pub(super) fn field(address: &str, name: &str) -> String {
    let address = Url::parse(address).unwrap();
    let value = address.query_pairs().find(|(key, _)| key == name);
    value.unwrap_or_else(|| panic!("no {name} in {address}")).1.into_owned()
}

fn form_fields(body: &[u8]) -> BTreeMap<String, String> {
    openidconnect::url::form_urlencoded::parse(body).into_owned().collect()
}

fn fresh_key() -> P256Key {
    P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap()
}

fn ok(body: &Value) -> Response {
    status(200, &body.to_string())
}

fn status(code: u16, body: &str) -> Response {
    http::Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(body.as_bytes().to_vec())
        .unwrap()
}
