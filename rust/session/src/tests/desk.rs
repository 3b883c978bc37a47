//! The broker's side of the desk, and the driver's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use ztna_api::device::{Ask, Facts, FromDevice, Granted, Hello, Position, Resources, ToDevice, Welcome};
use ztna_api::discovery::{Discovery, Versions};
use ztna_api::key;
use ztna_api::keyset::KeySet;
use ztna_api::statement::{self, Body};
use ztna_api::token::Admission;
use ztna_auth::{Possession, Response, Tokens};
use ztna_model::{
    Address, Decision, DenyReason, DeviceId, DomainName, Endpoint, Fix, Grant, Incarnation, LeaseId, LinkId,
    Match, OrgId, Port, Protocol, Random, Secret, SessionId, Signer, Synthetic, Time, Visible, WallTime,
    WgPublic, secs,
};
use ztna_net::keys::P256Key;
use ztna_posture::{Requirements, grade};
use ztna_proxy::Verdict;

use crate::account::{Account, Links};
use crate::session::{Dial, Profile, Session};
use crate::{DialId, Output};

pub(super) struct Desk {
    pub(super) session: Session,
    pub(super) now: Time,
    pub(super) last_link: LinkId,
    outputs: Vec<Output>,
    dialled: BTreeMap<u64, Result<Endpoint, Verdict>>,
    asks: Vec<Ask>,
    device: Arc<P256Key>,
    nonces: u32,
}

impl Desk {
    /// A session with a saved account whose access token is over.
    pub(super) fn new() -> Self {
        let device = Arc::new(fresh_key());
        let profile =
            Profile { device_name: "test".into(), software: "test 1".into(), platform: "linux".into() };
        let random = Box::new(Dice(1));
        let mut session = Session::new(profile, device.clone(), None, Secret::new([7; 32]), random);
        session.account = Some(account(device.clone()));
        session.state = crate::State::Off;
        let now = Time::ZERO + secs(1_000);
        session.handle_time(now);
        let last_link = LinkId([0; 16]);
        let (outputs, dialled, asks) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { session, now, last_link, outputs, dialled, asks, device, nonces: 0 }
    }

    /// One that is connected and may know of `visible`.
    pub(super) fn connected(visible: Vec<Visible>) -> Self {
        let mut desk = Self::new();
        desk.session.connect(desk.now);
        desk.answer_renewal();
        desk.reconnect(visible);
        desk
    }

    /// From the request for a stream to connected.
    pub(super) fn reconnect(&mut self, visible: Vec<Visible>) {
        self.open_and_welcome();
        self.send_readings();
        self.judge(visible);
        self.drain();
    }

    pub(super) fn open(&mut self) {
        self.session.handle_stream_opened(self.now);
        self.collect();
    }

    pub(super) fn open_and_welcome(&mut self) {
        self.hello();
        self.welcome();
    }

    /// Opens the stream and takes the hello that comes over it.
    pub(super) fn hello(&mut self) -> Hello {
        self.open();
        let hello = self.sent().into_iter().find_map(|frame| match frame {
            FromDevice::Hello(hello) => Some(hello),
            _ => None,
        });
        let hello = hello.expect("a hello comes first");
        self.last_link = hello.next;
        hello
    }

    pub(super) fn welcome(&mut self) {
        let nonces = (0..8).map(|_| self.nonce()).collect();
        self.frame(Welcome {
            version: 1,
            sid: SessionId([1; 16]),
            device: DeviceId([2; 16]),
            person: "Ana".into(),
            position: position(),
            time: WallTime::from_secs(1_800_000_000),
            posture: vec![],
            facts_max_age_s: 43_200,
            sign_in_by: WallTime::from_secs(1_800_100_000),
            keys: String::new(),
            nonces,
        });
    }

    pub(super) fn send_readings(&mut self) {
        self.session.handle_readings(vec![], WallTime::from_secs(1_800_000_000), self.now);
        self.collect();
    }

    pub(super) fn judge(&mut self, visible: Vec<Visible>) {
        self.frame(Resources { position: position(), suffixes: vec![suffix()], visible });
        self.grade();
    }

    pub(super) fn grade(&mut self) {
        let wall = WallTime::from_secs(1_800_000_000);
        let facts = grade(&[], &Requirements::default(), ztna_model::Tier::Unproven, wall);
        self.frame(Facts { facts });
    }

    /// A connected session reaches the wiki.
    pub(super) fn grant_wiki(&mut self) -> LeaseId {
        self.dial(90, "wiki.demo", 80);
        let request = self.asked();
        let grant = grant("wiki", 1, &self.synthetic("wiki.demo"));
        let lease = grant.lease;
        self.frame(Granted { request, grant });
        assert!(self.dialled(90).is_ok());
        self.drain();
        lease
    }

    pub(super) fn frame(&mut self, frame: impl Into<ToDevice>) {
        self.session.handle_frame(frame.into(), self.now);
        self.collect();
    }

    pub(super) fn dial(&mut self, id: u64, host: &str, port: u16) {
        let dial = Dial::tcp(DialId(id), host.parse().unwrap(), Port::new(port).unwrap());
        self.session.handle_dial(dial, self.now);
        self.collect();
    }

    pub(super) fn pass(&mut self, span: Duration) {
        self.now += span;
        self.session.handle_time(self.now);
        self.collect();
    }

    /// Waits until the session wants to be woken.
    pub(super) fn wait(&mut self) {
        let at = self.session.next_wake().expect("something to wait for");
        self.pass(at.since(self.now));
        self.answer_renewal();
    }

    /// Answers requests for nonces and for new tokens, as long as there are any.
    pub(super) fn answer_renewal(&mut self) {
        loop {
            self.collect();
            let calls = self.outputs.extract_if(.., |output| matches!(output, Output::Call { .. }));
            let calls: Vec<Output> = calls.collect();
            if calls.is_empty() {
                return;
            }
            for output in calls {
                let Output::Call { call, request } = output else { continue };
                match request.uri().path() {
                    "/v1/nonce" => self.session.handle_answer(call, Ok(nonce()), self.now),
                    "/v1/token" => self.session.handle_answer(call, Ok(tokens()), self.now),
                    _ => {}
                }
            }
        }
    }

    /// The kinds of the statements that were made, in order; each verifies.
    pub(super) fn stated(&mut self) -> Vec<&'static str> {
        let (jkt, org) = (key::thumbprint(&self.device.public_key()), org());
        let sent = self.sent();
        let stated = sent.iter().filter_map(|frame| match frame {
            FromDevice::Stated(stated) => Some(&stated.statement),
            _ => None,
        });
        let bodies = stated.map(|text| statement::verify(text, &jkt, &org, SessionId([1; 16])).unwrap().body);
        bodies
            .map(|body| match body {
                Body::TunnelKey { .. } => "tunnel-key",
                Body::Facts { .. } => "facts",
                Body::Presence {} => "presence",
                Body::Confirm { .. } => "confirm",
            })
            .collect()
    }

    pub(super) fn take_ask(&mut self) -> Option<Ask> {
        self.collect();
        if self.asks.is_empty() { None } else { Some(self.asks.remove(0)) }
    }

    /// The number of the next request that was made.
    pub(super) fn asked(&mut self) -> Option<u64> {
        self.take_ask().map(|ask| ask.request)
    }

    pub(super) fn dialled(&mut self, id: u64) -> Result<Endpoint, Verdict> {
        self.collect();
        self.dialled.remove(&id).unwrap_or_else(|| panic!("dial {id} was not answered"))
    }

    /// The frames sent since this was last asked.
    pub(super) fn sent(&mut self) -> Vec<FromDevice> {
        self.collect();
        let sent: Vec<Output> =
            self.outputs.extract_if(.., |output| matches!(output, Output::Send(_))).collect();
        let frames = sent.into_iter().filter_map(|output| match output {
            Output::Send(frame) => Some(*frame),
            _ => None,
        });
        frames.collect()
    }

    /// Whether there was such an output; it and those like it are gone then.
    pub(super) fn took(&mut self, which: impl Fn(&Output) -> bool) -> bool {
        self.collect();
        self.outputs.extract_if(.., |output| which(output)).count() > 0
    }

    /// What there is of such outputs; they are gone then.
    pub(super) fn take<T>(&mut self, mut pick: impl FnMut(&Output) -> Option<T>) -> Vec<T> {
        self.collect();
        let mut picked = Vec::new();
        self.outputs.retain(|output| match pick(output) {
            Some(found) => {
                picked.push(found);
                false
            }
            None => true,
        });
        picked
    }

    pub(super) fn drain(&mut self) -> Vec<Output> {
        while let Some(output) = self.session.poll() {
            self.outputs.push(output);
        }
        std::mem::take(&mut self.outputs)
    }

    pub(super) fn synthetic(&mut self, name: &str) -> Synthetic {
        self.session.book.address(&name.parse().unwrap()).unwrap()
    }

    fn nonce(&mut self) -> String {
        self.nonces += 1;
        format!("nonce-{}", self.nonces)
    }

    fn collect(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Dialled { dial, answer } => {
                    assert!(self.dialled.insert(dial.0, answer).is_none(), "answered twice");
                }
                Output::Send(frame) => match *frame {
                    FromDevice::Ask(ask) => self.asks.push(ask),
                    frame => self.outputs.push(Output::Send(Box::new(frame))),
                },
                output => self.outputs.push(output),
            }
        }
    }
}

pub(super) fn granted(id: &str) -> Visible {
    visible(id, Decision::Granted)
}

pub(super) fn denied(id: &str) -> Visible {
    visible(id, Decision::Denied { reason: DenyReason::DeviceUnfit, fixes: vec![Fix::AskAdministrator] })
}

fn visible(id: &str, decision: Decision) -> Visible {
    visible_at(id, Address::Name(format!("{id}.demo").parse().unwrap()), decision)
}

pub(super) fn visible_at(id: &str, address: Address, decision: Decision) -> Visible {
    Visible {
        resource: id.parse().unwrap(),
        title: id.into(),
        address,
        protocol: Protocol::Tcp,
        ports: "80,443".parse().unwrap(),
        site: Some("hq".parse().unwrap()),
        by_name: false,
        decision,
    }
}

pub(super) fn suffix() -> DomainName {
    "corp.example".parse().unwrap()
}

pub(super) fn grant(id: &str, lease: u8, synthetic: &Synthetic) -> Grant {
    grant_of(id, lease, &format!("{id}.demo"), synthetic)
}

pub(super) fn grant_of(id: &str, lease: u8, name: &str, synthetic: &Synthetic) -> Grant {
    Grant {
        lease: LeaseId([lease; 16]),
        resource: id.parse().unwrap(),
        gateway: "gw-1".parse().unwrap(),
        gateway_key: WgPublic([3; 32]),
        statement: String::new(),
        carriers: vec![],
        protocol: Protocol::Tcp,
        ports: "80,443".parse().unwrap(),
        covers: Match::Name { name: name.parse().unwrap(), synthetic: *synthetic },
    }
}

fn account(device: Arc<P256Key>) -> Account {
    let keys = KeySet { org: org(), seq: 1, keys: vec![] };
    let root = fresh_key();
    let discovery = Discovery {
        org: org(),
        title: "Acme".into(),
        issuer: "https://id.example".into(),
        client_id: "openztna".into(),
        scopes: vec![],
        keys: keys.sign(&root).unwrap(),
        versions: Versions::OURS,
        time: WallTime::EPOCH,
    };
    let tokens = Tokens {
        access: Secret::new(String::new()),
        access_until: Time::ZERO,
        refresh: Secret::new("refresh-1".into()),
        sid: SessionId([1; 16]),
        device: DeviceId([2; 16]),
        admission: Admission::Open,
    };
    Account {
        tokens,
        possession: Possession::new(org(), device),
        discovery,
        keys,
        root: key::root_hash(&root.public_key()),
        provider_refresh: Some(Secret::new("idp-refresh".into())),
        links: Links::default(),
        person: None,
        suffixes: vec![],
    }
}

fn nonce() -> Response {
    let body = json!({ "nonce": "nonce-1", "time": 1_800_000_000_000_u64 });
    http::Response::builder().status(200).body(body.to_string().into_bytes()).unwrap()
}

fn tokens() -> Response {
    let body = json!({
        "access_token": "access-2", "token_type": "DPoP", "expires_in": 300, "refresh_token": "refresh-2",
        "sid": "01".repeat(16), "device": "02".repeat(16), "state": "open",
    });
    http::Response::builder().status(200).body(body.to_string().into_bytes()).unwrap()
}

fn position() -> Position {
    Position { incarnation: Incarnation([1; 16]), sequence: 1 }
}

fn org() -> OrgId {
    "https://acme.example".parse().unwrap()
}

fn fresh_key() -> P256Key {
    P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap()
}

/// The same chances in every run, so that what fails once fails again (a linear congruential generator, with Knuth's
/// constants for MMIX).
struct Dice(u64);

impl Random for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = self.0.to_be_bytes()[0];
        });
    }
}
