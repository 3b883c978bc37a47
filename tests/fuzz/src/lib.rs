//! What must hold for any bytes whatsoever: a target for each parser of what comes from outside.
//!
//! Each target is a plain function. `cargo test` replays the committed corpus through it; `./tests/run fuzz` lets a
//! coverage-guided fuzzer loose on it for ten seconds.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a broken promise is a panic: that is what is looked for"
)]

use std::num::NonZeroU16;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ztna_api::device::{FromDevice, ToDevice};
use ztna_api::gateway::{FromGateway, ToGateway};
use ztna_api::keyset::KeySet;
use ztna_api::{admin, dpop, lease, statement, wire};
use ztna_model::{FactState, Jkt, OrgId, Reading, RootHash, Secret, SessionId, Tier, WallTime};
use ztna_net::tls::GatewayPeer;
use ztna_packet::{Segments, clamp_mss, parse, prohibit, refuse, rewrite, too_big};
use ztna_posture::{Requirements, grade};
use ztna_proxy::{Conversation, Output, Verdict};

/// One parser and what it promises.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Where its corpus lies, below `tests/corpus`.
    pub corpus: &'static [&'static str],
    /// Panics if a promise is broken.
    pub run: fn(&[u8]),
}

/// Every parser of foreign bytes.
pub const TARGETS: &[Target] = &[
    Target { name: "packet", corpus: &["packet", "netstack"], run: packet },
    Target { name: "proxy", corpus: &["proxy"], run: proxy },
    Target { name: "frames", corpus: &["api/frames"], run: frames },
    Target { name: "signed", corpus: &["api/signed"], run: signed },
    Target { name: "admin", corpus: &["api/admin"], run: admin_lines },
    Target { name: "facts", corpus: &["posture"], run: facts },
    Target { name: "certificate", corpus: &["net"], run: certificate },
    Target { name: "session", corpus: &["session"], run: session_on_disk },
];

/// IP packets: what is read can be answered, cut and rewritten, and nothing grows beyond its buffer.
pub fn packet(bytes: &[u8]) {
    let Ok(packet) = parse(bytes) else { return };
    let mut buffer = [0; 2_048];
    let answers =
        [refuse(&packet, &mut buffer), prohibit(&packet, &mut buffer), too_big(&packet, 1_280, &mut buffer)];
    assert!(answers.into_iter().flatten().all(|length| length <= 1_280), "an answer is too long");
    if let Ok(length) = refuse(&packet, &mut buffer) {
        let answer = parse(&buffer[..length]).expect("an answer is a packet");
        assert_eq!(answer.destination(), packet.source(), "an answer goes back");
        assert!(answer.checksums_hold(), "an answer's checksums hold");
    }
    if let Some(flow) = packet.flow() {
        let held = packet.checksums_hold();
        let mut copy = packet.bytes().to_vec();
        if rewrite(&mut copy, flow.reversed()).is_ok() {
            let rewritten = parse(&copy).expect("a rewritten packet is a packet");
            assert_eq!(rewritten.checksums_hold(), held, "rewriting neither mends nor breaks checksums");
        }
    }
    let mut copy = packet.bytes().to_vec();
    let _clamped = clamp_mss(&mut copy, 1_220);
    if let Some(mut segments) = NonZeroU16::new(536).and_then(|size| Segments::of(&packet, size)) {
        let mut room = vec![0; segments.longest()];
        while let Ok(Some(length)) = segments.write_next(&mut room) {
            assert!(parse(&room[..length]).is_ok(), "a segment is a packet");
        }
    }
}

/// What applications say to the proxy: without the secret nothing is asked, and no more is taken than was given.
pub fn proxy(bytes: &[u8]) {
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
pub fn frames(bytes: &[u8]) {
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
pub fn signed(bytes: &[u8]) {
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
pub fn admin_lines(bytes: &[u8]) {
    if let Ok(request) = wire::read::<admin::Request>(bytes, admin::LONGEST) {
        let text = wire::write(&request);
        assert_eq!(wire::read::<admin::Request>(text.as_bytes(), admin::LONGEST), Ok(request), "{text}");
    }
    if let Ok(reply) = wire::read::<admin::Reply>(bytes, admin::LONGEST) {
        let text = wire::write(&reply);
        assert_eq!(wire::read::<admin::Reply>(text.as_bytes(), admin::LONGEST), Ok(reply), "{text}");
    }
}

/// Readings: one fact for each kind, and no pass from what is unknown or made up.
pub fn facts(bytes: &[u8]) {
    let Ok(readings) = wire::read::<Vec<Reading>>(bytes, 64 * 1024) else { return };
    let facts =
        grade(&readings, &Requirements::default(), Tier::ProvenApp, WallTime::from_secs(1_800_000_000));
    assert_eq!(facts.len(), ztna_model::FactKind::ALL.len(), "one fact for each kind");
    for fact in facts {
        let said = readings.iter().filter(|reading| reading.kind == fact.kind).count();
        let passed = fact.state == FactState::Pass;
        assert!(!passed || said == 1, "{} passes though it was said {said} times", fact.kind);
        assert!(!passed || !fact.simulated, "{} passes though it is made up", fact.kind);
    }
}

/// Certificates: a gateway's name that is read writes back to itself.
pub fn certificate(bytes: &[u8]) {
    if let Ok(peer) = GatewayPeer::from_certificate(bytes) {
        assert_eq!(peer.name.to_string().parse(), Ok(peer.name), "a name reads back");
    }
}

/// What the connector keeps on disk.
pub fn session_on_disk(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(saved) = ztna_session::Saved::read(&Secret::new(text.to_owned())) {
        let again = ztna_session::Saved::read(&saved.write()).expect("what is written is read");
        assert_eq!(again, saved, "a session reads back");
    }
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
