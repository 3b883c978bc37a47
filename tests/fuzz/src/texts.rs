//! What comes as text: from applications, over streams, and by HTTP.

use std::fmt::Display;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ztna_api::device::{FromDevice, ToDevice};
use ztna_api::discovery::{self, Discovery};
use ztna_api::gateway::{EnrolRequest, Enrolled, FromGateway, RenewRequest, ToGateway};
use ztna_api::keyset::KeySet;
use ztna_api::problem::Problem;
use ztna_api::token::{self, Nonce, TokenError, TokenRequest, TokenResponse};
use ztna_api::{admin, dpop, lease, statement, wire};
use ztna_model::{
    Cidr, DomainName, GatewayId, Host, Jkt, LeaseId, NamePattern, OrgId, OrgString, Ports, ResourceId,
    RootHash, Secret, SessionId, Target, WallTime,
};
use ztna_proxy::{Conversation, Output, Verdict};

/// What applications say to the proxy: without the secret nothing is asked, and no more is taken than was given.
pub(crate) fn proxy(bytes: &[u8]) {
    let secret = Secret::new(SECRET.to_owned());
    let knows_secret = contains(bytes, SECRET.as_bytes()) || says_in_base64(bytes, SECRET.as_bytes());
    let mut conversation = Conversation::new(&secret);
    let taken = conversation.handle(bytes);
    assert!(taken <= bytes.len(), "more was taken than given");
    let mut asked = 0;
    while let Some(output) = conversation.poll() {
        match output {
            Output::Ask(_) => {
                asked += 1;
                conversation.answer(Verdict::Connected);
            }
            Output::Stream { mut upstream, .. } => {
                let rest = &bytes[taken..];
                assert!(upstream.pass(rest) <= rest.len(), "more was passed than given");
            }
            Output::Reply(_) | Output::Close => {}
        }
    }
    assert!(asked <= 1, "asked {asked} times");
    assert!(asked == 0 || knows_secret, "asked without the secret");
}

/// Frames of both streams and both directions: what is read writes back to what it was.
pub(crate) fn frames(bytes: &[u8]) {
    macro_rules! check {
        ($($direction:ty),*) => {$(
            if let Ok(frame) = <$direction>::read(bytes) {
                let text = frame.write();
                assert_eq!(<$direction>::read(text.as_bytes()), Ok(frame), "{text}");
            }
        )*};
    }
    check!(FromDevice, ToDevice, FromGateway, ToGateway);
}

/// Signed forms: nothing that the fuzzer makes up verifies.
pub(crate) fn signed(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let org: OrgId = "https://acme.example".parse().expect("an organisation");
    let keys = KeySet { org: org.clone(), seq: 0, keys: vec![] };
    let now = WallTime::from_secs(1_800_000_000);
    assert!(lease::verify(text, &keys).is_err(), "a lease without a key");
    assert!(
        statement::verify(text, &Jkt([0; 32]), &org, SessionId([0; 16])).is_err(),
        "a statement of nobody's"
    );
    assert!(KeySet::verify(text, &org, &RootHash([0; 32]), 0).is_err(), "a key set of nobody's");
    let uri = "https://acme.example/v1/token";
    // A proof verifies under the key it brings along: that is what it is for. It only must not panic.
    let _proof = dpop::verify(text, dpop::Expected { method: "POST", uri, access_token: None, now });
}

/// Lines of the administration socket.
pub(crate) fn admin_lines(bytes: &[u8]) {
    if let Ok(request) = wire::read::<admin::Request>(bytes, admin::LONGEST) {
        let text = wire::write(&request);
        assert_eq!(wire::read::<admin::Request>(text.as_bytes(), admin::LONGEST), Ok(request), "{text}");
    }
    if let Ok(reply) = wire::read::<admin::Reply>(bytes, admin::LONGEST) {
        let text = wire::write(&reply);
        assert_eq!(wire::read::<admin::Reply>(text.as_bytes(), admin::LONGEST), Ok(reply), "{text}");
    }
}

/// Documents that are exchanged over HTTP: what is read writes back to what it was.
pub(crate) fn documents(bytes: &[u8]) {
    same::<Discovery>(bytes, discovery::LONGEST);
    same::<Nonce>(bytes, token::LONGEST);
    same::<TokenResponse>(bytes, token::LONGEST);
    same::<TokenError>(bytes, token::LONGEST);
    same::<Problem>(bytes, token::LONGEST);
    same::<Enrolled>(bytes, token::LONGEST);
    same::<RenewRequest>(bytes, token::LONGEST);
    // These carry secrets, which nobody writes back.
    let _request = wire::read::<TokenRequest>(bytes, token::LONGEST);
    let _request = wire::read::<EnrolRequest>(bytes, token::LONGEST);
}

fn same<T: DeserializeOwned + Serialize>(bytes: &[u8], longest: usize) {
    if let Ok(message) = wire::read::<T>(bytes, longest) {
        let text = wire::write(&message);
        let again = wire::read::<T>(text.as_bytes(), longest.max(text.len()));
        assert_eq!(again.map(|again| wire::write(&again)), Ok(text), "a message reads back");
    }
}

/// Names, addresses and ids as people and programs write them: what is read is written in one spelling, which reads back.
pub(crate) fn words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for word in text.lines() {
        spelling::<OrgString>(word);
        spelling::<DomainName>(word);
        spelling::<NamePattern>(word);
        spelling::<Host>(word);
        spelling::<Target>(word);
        spelling::<Cidr>(word);
        spelling::<Ports>(word);
        spelling::<ResourceId>(word);
        spelling::<GatewayId>(word);
        spelling::<LeaseId>(word);
    }
}

fn spelling<T: FromStr + Display + PartialEq>(word: &str) {
    let Ok(read) = word.parse::<T>() else { return };
    let written = read.to_string();
    assert!(written.parse::<T>().is_ok_and(|again| again == read), "`{word}` is written as `{written}`");
}

/// Whether some word of `bytes` is base64 for text with `part` in it.
fn says_in_base64(bytes: &[u8], part: &[u8]) -> bool {
    let words = bytes.split(|byte| byte.is_ascii_whitespace());
    words.filter_map(|word| STANDARD.decode(word).ok()).any(|decoded| contains(&decoded, part))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

const SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
