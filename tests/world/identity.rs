use std::collections::BTreeMap;

use serde_json::{Value, json};
use ztna_auth::Response;
use ztna_model::{Signer as _, WallTime, base64url};
use ztna_net::keys::P256Key;

pub(crate) const ISSUER: &str = "https://id.example";
pub(crate) const CLIENT: &str = "openztna";

/// An identity provider that believes everybody.
pub(crate) struct Identity {
    key: P256Key,
    codes: BTreeMap<String, (String, String)>,
}

impl Identity {
    pub(crate) fn new() -> Self {
        Self { key: P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap(), codes: BTreeMap::new() }
    }

    /// What the login page answers to a browser that `person` sits at.
    pub(crate) fn log_in(&mut self, address: &str, person: &str) -> String {
        let code = format!("code-{}", self.codes.len());
        self.codes.insert(code.clone(), (person.into(), field(address, "nonce")));
        let (back, state) = (field(address, "redirect_uri"), field(address, "state"));
        format!("{back}?code={code}&state={state}&iss={ISSUER}")
    }

    pub(crate) fn answer(&mut self, path: &str, body: &[u8], wall: WallTime) -> Response {
        match path {
            "/.well-known/openid-configuration" => ok(&json!({
                "issuer": ISSUER,
                "authorization_endpoint": format!("{ISSUER}/authorize"),
                "token_endpoint": format!("{ISSUER}/token"),
                "jwks_uri": format!("{ISSUER}/jwks"),
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
                "authorization_response_iss_parameter_supported": true,
            })),
            "/jwks" => ok(&json!({"keys": [self.key.public_key()]})),
            "/token" => {
                let form: BTreeMap<String, String> =
                    openidconnect::url::form_urlencoded::parse(body).into_owned().collect();
                let (person, nonce) = self.codes.remove(&form["code"]).expect("a code is used once");
                let id_token = self.id_token(&person, &nonce, wall);
                ok(&json!({"access_token": "a", "token_type": "Bearer", "id_token": id_token}))
            }
            other => panic!("the identity provider has no {other}"),
        }
    }

    fn id_token(&self, person: &str, nonce: &str, wall: WallTime) -> String {
        let claims = json!({
            "iss": ISSUER, "sub": person, "aud": CLIENT, "nonce": nonce, "name": person,
            "iat": wall.as_secs(), "exp": wall.as_secs() + 300, "auth_time": wall.as_secs(),
        });
        let part = |value: &Value| base64url::encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({"alg": "ES256", "typ": "JWT"})), part(&claims));
        format!("{signed}.{}", base64url::encode(self.key.sign(signed.as_bytes()).unwrap()))
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
