use std::collections::BTreeMap;

use serde_json::{Value, json};
use ztna_auth::Response;
use ztna_model::{Signer, WallTime, base64url};
use ztna_net::keys::{Ed25519Key, P256Key};

pub(crate) const ISSUER: &str = "https://id.example";
pub(crate) const CLIENT: &str = "openztna";

/// An identity provider that believes everybody.
pub(crate) struct Identity {
    /// What it does its own way.
    pub(crate) manner: Manner,
    key: P256Key,
    edwards: Ed25519Key,
    codes: BTreeMap<String, (String, String)>,
}

/// What providers do in different ways, all of them within the standard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manner {
    /// It does all that is recommended.
    Recommended,
    /// It does not say who it is in its answers (RFC 9207).
    NamelessAnswers,
    /// It signs by EdDSA.
    EdwardsKeys,
    /// It hands out refresh tokens, and documents full of members of its own.
    Chatty,
}

impl Manner {
    pub(crate) const ALL: [Self; 4] =
        [Self::Recommended, Self::NamelessAnswers, Self::EdwardsKeys, Self::Chatty];
}

impl Identity {
    pub(crate) fn new() -> Self {
        Self {
            manner: Manner::Recommended,
            key: P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap(),
            edwards: Ed25519Key::from_pkcs8(&Ed25519Key::generate().unwrap()).unwrap(),
            codes: BTreeMap::new(),
        }
    }

    /// What the login page answers to a browser that `person` sits at.
    pub(crate) fn log_in(&mut self, address: &str, person: &str) -> String {
        let code = format!("code-{}", self.codes.len());
        self.codes.insert(code.clone(), (person.into(), field(address, "nonce")));
        let (back, state) = (field(address, "redirect_uri"), field(address, "state"));
        match self.manner {
            Manner::NamelessAnswers => format!("{back}?code={code}&state={state}"),
            Manner::Chatty => {
                format!("{back}?session_state=x&code={code}&state={state}&iss={ISSUER}&scope=openid")
            }
            Manner::Recommended | Manner::EdwardsKeys => {
                format!("{back}?code={code}&state={state}&iss={ISSUER}")
            }
        }
    }

    pub(crate) fn answer(&mut self, path: &str, body: &[u8], wall: WallTime) -> Response {
        match path {
            "/.well-known/openid-configuration" => ok(&self.metadata()),
            "/jwks" => ok(&json!({"keys": [self.signer().public_key()]})),
            "/token" => {
                let form: BTreeMap<String, String> =
                    openidconnect::url::form_urlencoded::parse(body).into_owned().collect();
                let (person, nonce) = self.codes.remove(&form["code"]).expect("a code is used once");
                let id_token = self.id_token(&person, &nonce, wall);
                let mut tokens = json!({"access_token": "a", "token_type": "Bearer", "id_token": id_token});
                if self.manner == Manner::Chatty {
                    tokens["refresh_token"] = json!("r");
                    tokens["ext_expires_in"] = json!(3_599);
                }
                ok(&tokens)
            }
            other => panic!("the identity provider has no {other}"),
        }
    }

    fn metadata(&self) -> Value {
        let mut metadata = json!({
            "issuer": ISSUER,
            "authorization_endpoint": format!("{ISSUER}/authorize"),
            "token_endpoint": format!("{ISSUER}/token"),
            "jwks_uri": format!("{ISSUER}/jwks"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.algorithm()],
        });
        if self.manner != Manner::NamelessAnswers {
            metadata["authorization_response_iss_parameter_supported"] = json!(true);
        }
        if self.manner == Manner::Chatty {
            metadata["tenant_region_scope"] = json!("EU");
            metadata["claims_supported"] = json!(["sub", "tid", "groups"]);
        }
        metadata
    }

    fn signer(&self) -> &dyn Signer {
        if self.manner == Manner::EdwardsKeys { &self.edwards } else { &self.key }
    }

    fn algorithm(&self) -> &'static str {
        if self.manner == Manner::EdwardsKeys { "EdDSA" } else { "ES256" }
    }

    fn id_token(&self, person: &str, nonce: &str, wall: WallTime) -> String {
        let claims = json!({
            "iss": ISSUER, "sub": person, "aud": CLIENT, "nonce": nonce, "name": person,
            "iat": wall.as_secs(), "exp": wall.as_secs() + 300, "auth_time": wall.as_secs(),
        });
        let part = |value: &Value| base64url::encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({"alg": self.algorithm(), "typ": "JWT"})), part(&claims));
        format!("{signed}.{}", base64url::encode(self.signer().sign(signed.as_bytes()).unwrap()))
    }
}

pub(crate) fn ok(body: &Value) -> Response {
    answer(200, body)
}

pub(crate) fn answer(status: u16, body: &Value) -> Response {
    http::Response::builder().status(status).body(body.to_string().into_bytes()).unwrap()
}

fn field(address: &str, name: &str) -> String {
    let address = openidconnect::url::Url::parse(address).unwrap();
    address.query_pairs().find(|(key, _)| key == name).expect("the field is there").1.into_owned()
}
