//! A store, devices and gateways for this crate's tests: everything a [`Pdp`] talks to, in one process.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one it means")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ztna_api::admin::{AdminError, Answer, Group, Op, Policy, Settings, Site};
use ztna_api::device::{self, FromDevice, Hello, ToDevice, Wanted};
use ztna_api::discovery::Versions;
use ztna_api::dpop::Proof;
use ztna_api::gateway::{self, Beat, FromGateway, ToGateway};
use ztna_api::keyset::{Key as KeyRow, KeySet, KeyState, KeyUse};
use ztna_api::statement::{self, Body, Statement};
use ztna_api::token::{TokenError, TokenResponse, id_nonce};
use ztna_api::{key, lease};
use ztna_model::{
    Carrier, DeviceId, FactKind, FactValue, GatewayId, Incarnation, Jkt, Lease, LinkId, Observed, OrgId,
    PersonId, Pseudonym, Random, Reading, Resource, RunId, SessionId, Signer, Synthetic, Time, WallTime,
    WgPublic,
};
use ztna_net::keys::{Ed25519Key, P256Key};

use crate::audit::{Entry, Event};
use crate::rows::{Gateway, One, Organisation, Person, Row, Rows};
use crate::{
    Admin, Alarm, Batch, BatchId, Claim, ClaimKind, DeviceOpened, Exchange, GatewayOpened, IdToken, Input,
    Issuer, Keys, NotCommitted, Now, Output, Pdp, Refresh, RequestId, SignOut, StreamId, Trust,
};

pub(crate) const ISSUER: &str = "https://idp.acme.example";
pub(crate) const START: WallTime = WallTime::from_secs(1_795_435_200); // 2026-11-23, a Monday, noon UTC

pub(crate) fn org() -> OrgId {
    "https://acme.example".parse().unwrap()
}

pub(crate) fn person(subject: &str) -> PersonId {
    PersonId { issuer: ISSUER.into(), subject: subject.into() }
}

pub(crate) fn p256() -> P256Key {
    P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap()
}

pub(crate) fn resource(id: &str, address: &str) -> Resource {
    let kind = if address.contains('/') { "prefix" } else { "name" };
    let wire = serde_json::json!({
        "id": id, "title": id, "site": "hq", "address": {kind: address}, "protocol": "tcp", "ports": "80",
    });
    serde_json::from_value(wire).unwrap()
}

/// Bytes that are never the same twice, and the same in every run.
pub(crate) struct Counter(pub(crate) u64);

impl Random for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            self.0 += 1;
            let hash = key::sha256(&self.0.to_be_bytes());
            chunk.copy_from_slice(&hash[..chunk.len()]);
        }
    }
}

/// What the driver does with batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Store {
    /// Takes them at once.
    Up,
    /// Lets them wait until [`Bench::flush`].
    Slow,
    /// Takes none.
    Down,
}

/// A [`Pdp`] and all it talks to.
pub(crate) struct Bench {
    pub(crate) pdp: Pdp,
    pub(crate) now: Now,
    pub(crate) store: Store,
    pub(crate) claims: BTreeSet<(ClaimKind, String)>,
    pub(crate) stored: Rows,
    pub(crate) audit: Vec<Entry>,
    pub(crate) alarms: Vec<Alarm>,
    pub(crate) outputs: Vec<Output>,
    waiting: Vec<Batch>,
    next: u64,
    keyset: KeySet,
}

/// A device with its key, as a client that follows the protocol.
pub(crate) struct Device {
    pub(crate) key: P256Key,
    pub(crate) tokens: TokenResponse,
    pub(crate) stream: StreamId,
    pub(crate) nonces: Vec<String>,
    pub(crate) link: Option<LinkId>,
}

/// A gateway that does what it is told.
pub(crate) struct Gate {
    pub(crate) id: GatewayId,
    pub(crate) key: P256Key,
    pub(crate) run: RunId,
    pub(crate) stream: StreamId,
    /// Leases it holds, as last signed.
    pub(crate) leases: BTreeMap<ztna_model::LeaseId, Lease>,
    pub(crate) silent: bool,
}

pub(crate) const SEE: &str = r#"permit(principal in Group::"staff", action == Action::"see", resource in Site::"hq")
    unless { resource == Resource::"ledger" };"#;
pub(crate) const WIKI: &str =
    r#"permit(principal in Group::"staff", action == Action::"connect", resource == Resource::"wiki");"#;
pub(crate) const PAYROLL: &str = r#"permit(principal in Group::"staff", action == Action::"connect",
    resource == Resource::"payroll") when { context.device.disk_encrypted.state == "pass" };"#;

impl Bench {
    /// Ana and Bo are staff; the wiki is open to them, payroll to those with an encrypted disk, the ledger to nobody.
    pub(crate) fn new() -> (Self, Gate) {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Rows)) -> (Self, Gate) {
        let mut rows = Rows::new(org());
        let key = p256();
        let settings = Settings {
            requirements: serde_json::from_str(r#"{"tier": 0, "simulated": true}"#).unwrap(),
            ..Settings::default()
        };
        rows.organisation.insert(One, Organisation { incarnation: Incarnation([9; 16]), settings });
        rows.groups.insert(
            "staff".parse().unwrap(),
            Group { id: "staff".parse().unwrap(), title: "Staff".into(), claims: BTreeSet::new() },
        );
        for (n, name) in ["ana", "bo"].into_iter().enumerate() {
            let row = Person {
                id: person(name),
                name: name.into(),
                email: None,
                pseudonym: Pseudonym([u8::try_from(n).unwrap() + 1; 16]),
                groups: ["staff".parse().unwrap()].into(),
                claimed: BTreeSet::new(),
                roles: BTreeSet::new(),
                since: None,
                not_before: WallTime::EPOCH,
            };
            rows.people.insert(row.id.clone(), row);
        }
        rows.sites.insert("hq".parse().unwrap(), Site { id: "hq".parse().unwrap(), title: "HQ".into() });
        for id in ["wiki", "payroll", "ledger"] {
            rows.resources.insert(id.parse().unwrap(), resource(id, &format!("{id}.demo")));
        }
        for (id, text) in [("see", SEE), ("wiki", WIKI), ("payroll", PAYROLL)] {
            let row = Policy { id: id.parse().unwrap(), text: text.into(), version: 1, changed: START };
            rows.policies.insert(row.id.clone(), row);
        }
        let gateway = Gateway {
            id: "gw-1".parse().unwrap(),
            site: "hq".parse().unwrap(),
            key: Some(key.public_key()),
            revoked: None,
        };
        rows.gateways.insert(gateway.id.clone(), gateway);
        change(&mut rows);
        let mut bench = Self::start(rows, Now { boot: Time::ZERO + Duration::from_secs(1_000), wall: START });
        let gate = bench.gate("gw-1", key);
        (bench, gate)
    }

    pub(crate) fn start(rows: Rows, now: Now) -> Self {
        let lease = Ed25519Key::from_pkcs8(&Ed25519Key::generate().unwrap()).unwrap();
        let row = KeyRow {
            usage: KeyUse::Lease,
            state: KeyState::Current,
            jwk: lease.public_key(),
            certificate: None,
        };
        let keyset = KeySet { org: org(), seq: 1, keys: vec![row] };
        let keys = Keys {
            lease: Box::new(lease),
            nonce: ztna_model::Secret::new([7; 32]),
            keyset: "keys".into(),
            root: ztna_model::RootHash([3; 32]),
        };
        let issuer = Issuer {
            identifier: ISSUER.into(),
            client_id: "openztna".into(),
            domains: vec!["acme.example".into()],
        };
        let trust = Trust { org: org(), issuers: vec![issuer] };
        let stored = rows.clone();
        let seed = now.boot.as_nanos();
        let pdp = Pdp::new(trust, rows, keys, Box::new(Counter(seed)), now).unwrap();
        let mut bench = Self {
            pdp,
            now,
            store: Store::Up,
            claims: BTreeSet::new(),
            stored,
            audit: Vec::new(),
            alarms: Vec::new(),
            outputs: Vec::new(),
            waiting: Vec::new(),
            next: 0,
            keyset,
        };
        bench.drain();
        bench
    }

    /// The broker is killed, and starts again on what its store holds.
    pub(crate) fn restart(&mut self) {
        let mut after = Self::start(self.stored.clone(), self.now);
        after.claims = std::mem::take(&mut self.claims);
        let audit = std::mem::take(&mut self.audit);
        after.audit = audit.into_iter().chain(std::mem::take(&mut after.audit)).collect();
        after.next = self.next;
        *self = after;
    }

    pub(crate) fn handle(&mut self, input: Input) {
        self.pdp.handle(input, self.now);
        self.drain();
    }

    /// Time passes; timers ring on the way.
    pub(crate) fn after(&mut self, span: Duration) {
        let end = self.now.boot + span;
        while let Some(wake) = self.pdp.next_wake().filter(|wake| *wake <= end) {
            self.go_to(wake);
            self.handle(Input::Woken);
        }
        self.go_to(end);
        self.handle(Input::Woken);
    }

    fn go_to(&mut self, boot: Time) {
        let step = boot.since(self.now.boot);
        self.now = Now { boot: self.now.boot + step, wall: self.now.wall + step };
    }

    fn drain(&mut self) {
        while let Some(output) = self.pdp.poll() {
            match output {
                Output::Commit(batch) => self.take(batch),
                Output::Alarm(alarm) => self.alarms.push(alarm),
                output => self.outputs.push(output),
            }
        }
    }

    fn take(&mut self, batch: Batch) {
        match self.store {
            Store::Slow => self.waiting.push(batch),
            Store::Up => self.write(&batch),
            Store::Down => {
                self.pdp.handle(Input::NotCommitted(batch.id, NotCommitted::StoreDown), self.now);
            }
        }
    }

    /// The slow store takes what waits, in order.
    pub(crate) fn flush(&mut self) {
        while !self.waiting.is_empty() {
            for batch in std::mem::take(&mut self.waiting) {
                self.write(&batch);
            }
            self.drain();
        }
    }

    fn write(&mut self, batch: &Batch) {
        let key = |claim: &Claim| (claim.kind, claim.id.clone());
        let answer = match batch.claims.iter().find(|claim| self.claims.contains(&key(claim))) {
            Some(claim) => Input::NotCommitted(batch.id, NotCommitted::AlreadyClaimed(claim.clone())),
            None => {
                self.claims.extend(batch.claims.iter().map(key));
                for write in &batch.writes {
                    // What cannot be read back would be lost at the next start.
                    if let crate::rows::Write::Put(row) = write {
                        assert_eq!(&Row::read(row.key().table(), &row.document()).unwrap(), row);
                    }
                    self.stored.apply(write);
                }
                self.audit.extend(batch.audit.iter().cloned());
                Input::Committed(BatchId(batch.id.0))
            }
        };
        self.pdp.handle(answer, self.now);
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn events(&self) -> Vec<&Event> {
        self.audit.iter().map(|entry| &entry.record.event).collect()
    }

    /// A proof that the driver has verified.
    pub(crate) fn proof(&mut self, signer: &P256Key) -> Proof {
        let nonce = self.pdp.nonce(self.now).nonce;
        let jti = format!("{:016}", self.number());
        let key = signer.public_key();
        Proof { key, jkt: key::thumbprint(&key), jti, nonce: Some(nonce) }
    }

    /// The ID token of somebody who has just signed in, committed to this key.
    pub(crate) fn id_token(&mut self, subject: &str, jkt: &Jkt, salt: &str) -> IdToken {
        IdToken {
            hash: key::sha256(&self.number().to_be_bytes()),
            issuer: ISSUER.into(),
            subject: subject.into(),
            audiences: vec!["openztna".into()],
            authorized_party: None,
            expires: self.now.wall + Duration::from_secs(300),
            issued: self.now.wall,
            nonce: Some(id_nonce(&org(), jkt, salt)),
            idp_sid: None,
            acr: None,
            amr: vec!["pwd".into()],
            auth_time: Some(self.now.wall),
            email: None,
            email_verified: false,
            name: None,
            groups: Vec::new(),
        }
    }

    pub(crate) fn exchange(&mut self, subject: &str, signer: &P256Key) -> Exchange {
        let salt = self.pdp.nonce(self.now).nonce;
        let proof = self.proof(signer);
        let id_token = self.id_token(subject, &proof.jkt, &salt);
        let request = RequestId(self.number());
        Exchange { request, proof, id_token, salt, device_name: "a laptop".into(), enrolment: None }
    }

    pub(crate) fn sign_in(&mut self, subject: &str, signer: &P256Key) -> Result<TokenResponse, TokenError> {
        let exchange = self.exchange(subject, signer);
        self.try_exchange(exchange)
    }

    pub(crate) fn try_exchange(&mut self, exchange: Exchange) -> Result<TokenResponse, TokenError> {
        let request = exchange.request;
        self.handle(Input::Exchange(Box::new(exchange)));
        self.tokens(request)
    }

    pub(crate) fn tokens(&mut self, wanted: RequestId) -> Result<TokenResponse, TokenError> {
        self.find(|output| match output {
            Output::Tokens(request, answer) if *request == wanted => Some(answer.clone()),
            _ => None,
        })
        .expect("an answer")
    }

    pub(crate) fn find<T>(&mut self, mut pick: impl FnMut(&Output) -> Option<T>) -> Option<T> {
        let (n, found) = self.outputs.iter().enumerate().find_map(|(n, output)| Some((n, pick(output)?)))?;
        self.outputs.remove(n);
        Some(found)
    }

    pub(crate) fn refresh(&mut self, token: &str, signer: &P256Key) -> Result<TokenResponse, TokenError> {
        let (request, proof) = (RequestId(self.number()), self.proof(signer));
        self.handle(Input::Refresh(Refresh { request, proof, token: token.to_owned().into() }));
        self.tokens(request)
    }

    pub(crate) fn sign_out(&mut self, token: &str, signer: &P256Key) -> Result<(), TokenError> {
        let (request, proof) = (RequestId(self.number()), self.proof(signer));
        self.handle(Input::SignOut(SignOut { request, proof, token: token.to_owned().into() }));
        self.find(|output| match output {
            Output::SignedOut(answered, answer) if *answered == request => Some(answer.clone()),
            _ => None,
        })
        .expect("an answer")
    }

    /// A signed-in device without a stream.
    pub(crate) fn device(&mut self, subject: &str) -> Device {
        let key = p256();
        let tokens = self.sign_in(subject, &key).unwrap();
        Device { key, tokens, stream: StreamId(0), nonces: Vec::new(), link: None }
    }

    /// A device that is signed in, connected, present, and has stated its tunnel key.
    pub(crate) fn ready(&mut self, subject: &str) -> Device {
        let mut device = self.device(subject);
        self.connect(&mut device);
        self.make_ready(&mut device);
        device
    }

    pub(crate) fn make_ready(&mut self, device: &mut Device) {
        self.state(device, Body::Presence {});
        let wg_pub = WgPublic(key::sha256(&self.number().to_be_bytes()));
        self.state(device, Body::TunnelKey { wg_pub });
    }

    pub(crate) fn open(&mut self, device: &Device) -> Result<StreamId, TokenError> {
        let (stream, proof) = (StreamId(self.number()), self.proof(&device.key));
        let token = device.tokens.access_token.clone().into();
        let address = "192.0.2.7".parse().unwrap();
        self.handle(Input::DeviceOpened(DeviceOpened { stream, proof, token, address }));
        self.find(|output| match output {
            Output::Stream(answered, answer) if *answered == stream => Some(answer.clone()),
            _ => None,
        })
        .expect("an answer")
        .map(|()| stream)
    }

    /// Opens a stream and says hello, as the session's next.
    pub(crate) fn connect(&mut self, device: &mut Device) {
        let stream = self.open(device).unwrap();
        let next = LinkId(key::sha256(&self.number().to_be_bytes())[..16].try_into().unwrap());
        let prev = device.link.replace(next);
        device.stream = stream;
        self.hello(stream, prev, next);
        self.read_nonces(device);
    }

    pub(crate) fn hello(&mut self, stream: StreamId, prev: Option<LinkId>, next: LinkId) {
        let hello = Hello {
            org: org(),
            versions: Versions::OURS,
            prev,
            next,
            software: "test".into(),
            platform: "linux".into(),
        };
        self.say(stream, hello);
    }

    pub(crate) fn say(&mut self, stream: StreamId, frame: impl Into<FromDevice>) {
        self.handle(Input::FromDevice(stream, frame.into()));
    }

    pub(crate) fn read_nonces(&mut self, device: &mut Device) {
        for frame in self.peek(device.stream) {
            match frame {
                ToDevice::Welcome(welcome) => device.nonces = welcome.nonces,
                ToDevice::Nonces(nonces) => device.nonces = nonces.nonces,
                _ => {}
            }
        }
    }

    fn nonce(&mut self, device: &mut Device) -> String {
        if device.nonces.is_empty() {
            self.say(device.stream, device::NeedNonces { count: 8 });
            device.nonces = self
                .find(|output| match output {
                    Output::ToDevice(stream, ToDevice::Nonces(nonces)) if *stream == device.stream => {
                        Some(nonces.nonces.clone())
                    }
                    _ => None,
                })
                .expect("nonces");
        }
        device.nonces.pop().unwrap()
    }

    pub(crate) fn statement(&mut self, device: &mut Device, body: Body) -> String {
        let nonce = self.nonce(device);
        let statement = Statement { org: org(), sid: device.tokens.sid, nonce, body };
        statement::sign(&device.key, &statement).unwrap()
    }

    pub(crate) fn state(&mut self, device: &mut Device, body: Body) {
        let statement = self.statement(device, body);
        self.say(device.stream, device::Stated { statement });
    }

    /// Tells of a device on which everything is in order but what is named.
    pub(crate) fn facts(&mut self, device: &mut Device, bad: &[FactKind]) {
        let readings = FactKind::ALL.iter().map(|kind| reading(*kind, !bad.contains(kind))).collect();
        self.state(device, Body::Facts { readings });
    }

    /// Frames to a stream, taken from what is there.
    pub(crate) fn frames(&mut self, stream: StreamId) -> Vec<ToDevice> {
        let mut frames = Vec::new();
        while let Some(frame) = self.find(|output| match output {
            Output::ToDevice(to, frame) if *to == stream => Some(frame.clone()),
            _ => None,
        }) {
            frames.push(frame);
        }
        frames
    }

    pub(crate) fn peek(&self, stream: StreamId) -> Vec<ToDevice> {
        let frames = self.outputs.iter().filter_map(|output| match output {
            Output::ToDevice(to, frame) if *to == stream => Some(frame.clone()),
            _ => None,
        });
        frames.collect()
    }

    pub(crate) fn is_closed(&self, stream: StreamId) -> bool {
        self.outputs.contains(&Output::Close(stream))
    }

    /// Asks for a name on port 80, and takes the answer that is there.
    pub(crate) fn ask(&mut self, device: &Device, name: &str) -> Option<ToDevice> {
        let request = self.number();
        let index = name.bytes().fold(7_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.ask_as(device, request, name, Synthetic::from_index(index));
        self.answer(device.stream, request)
    }

    pub(crate) fn ask_as(&mut self, device: &Device, request: u64, name: &str, synthetic: Synthetic) {
        let ask = device::Ask {
            request,
            wanted: Wanted::Name { name: name.parse().unwrap(), synthetic },
            protocol: ztna_model::Protocol::Tcp,
            port: ztna_model::Port::new(80).unwrap(),
            carriers: vec![carrier()],
            avoid: None,
        };
        self.say(device.stream, ask);
    }

    pub(crate) fn answer(&mut self, stream: StreamId, request: u64) -> Option<ToDevice> {
        self.find(|output| match output {
            Output::ToDevice(to, frame) if *to == stream => match frame {
                ToDevice::Granted(granted) if granted.request == Some(request) => Some(frame.clone()),
                ToDevice::Refused(refused) if refused.request == request => Some(frame.clone()),
                _ => None,
            },
            _ => None,
        })
    }

    /// Asks, lets the gateway answer, and expects a grant.
    pub(crate) fn granted(&mut self, device: &Device, gate: &mut Gate, name: &str) -> ztna_model::Grant {
        let request = self.number();
        let index = name.bytes().fold(7_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.ask_as(device, request, name, Synthetic::from_index(index));
        self.gate_answers(gate);
        match self.answer(device.stream, request) {
            Some(ToDevice::Granted(granted)) => granted.grant,
            other => panic!("{name}: {other:?}"),
        }
    }

    pub(crate) fn admin(&mut self, op: Op) -> Result<Answer, AdminError> {
        let request = RequestId(self.number());
        self.handle(Input::Admin(Admin { request, uid: 0, op }));
        self.admin_answer(request).expect("an answer")
    }

    pub(crate) fn admin_answer(&mut self, wanted: RequestId) -> Option<Result<Answer, AdminError>> {
        self.find(|output| match output {
            Output::Admin(request, answer) if *request == wanted => Some(answer.clone()),
            _ => None,
        })
    }

    /// A connected gateway.
    pub(crate) fn gate(&mut self, id: &str, key: P256Key) -> Gate {
        let mut gate = Gate {
            id: id.parse().unwrap(),
            key,
            run: RunId([0; 16]),
            stream: StreamId(0),
            leases: BTreeMap::new(),
            silent: false,
        };
        self.start_gate(&mut gate);
        gate
    }

    /// The gateway's process starts: it holds nothing.
    pub(crate) fn start_gate(&mut self, gate: &mut Gate) {
        gate.run = RunId(key::sha256(&self.number().to_be_bytes())[..16].try_into().unwrap());
        gate.leases.clear();
        self.connect_gate(gate);
    }

    pub(crate) fn connect_gate(&mut self, gate: &mut Gate) {
        gate.stream = StreamId(self.number());
        let (stream, gateway, key) = (gate.stream, gate.id.clone(), gate.key.public_key());
        self.handle(Input::GatewayOpened(GatewayOpened { stream, gateway, key }));
        let wg_pub = WgPublic([5; 32]);
        let statement = gateway::Statement { org: org(), gw: gate.id.clone(), run: gate.run, wg_pub };
        let hello = gateway::Hello {
            org: org(),
            versions: Versions::OURS,
            beat: self.beat_of(gate),
            wg_pub,
            statement: statement.sign(&gate.key, Vec::new()).unwrap(),
            carriers: vec![carrier()],
            software: "test".into(),
        };
        self.tell(gate, hello);
        self.gate_answers(gate);
    }

    pub(crate) fn beat_of(&self, gate: &Gate) -> Beat {
        Beat { run: gate.run, now: self.now.boot.as_millis() + 5_000_000 }
    }

    pub(crate) fn tell(&mut self, gate: &Gate, frame: impl Into<FromGateway>) {
        self.handle(Input::FromGateway(gate.stream, frame.into()));
    }

    pub(crate) fn gate_frames(&mut self, gate: &Gate) -> Vec<ToGateway> {
        let mut frames = Vec::new();
        while let Some(frame) = self.find(|output| match output {
            Output::ToGateway(to, frame) if *to == gate.stream => Some(frame.clone()),
            _ => None,
        }) {
            frames.push(frame);
        }
        frames
    }

    /// The gateway does what it was told, until nothing is left to do. Returns the frames.
    pub(crate) fn gate_answers(&mut self, gate: &mut Gate) -> Vec<ToGateway> {
        let mut all = Vec::new();
        while !gate.silent {
            let frames = self.gate_frames(gate);
            if frames.is_empty() {
                break;
            }
            for frame in &frames {
                self.obey(gate, frame);
            }
            all.extend(frames);
        }
        all
    }

    fn obey(&mut self, gate: &mut Gate, frame: &ToGateway) {
        match frame {
            ToGateway::Welcome(_) => {}
            ToGateway::BeatPlease(_) => self.tell(gate, self.beat_of(gate)),
            ToGateway::Lease(offered) => {
                let lease = self.verified(gate, &offered.lease);
                gate.leases.insert(lease.id, lease.clone());
                self.tell(gate, gateway::Held { lease: lease.id });
            }
            ToGateway::Renewed(renewed) => {
                for text in &renewed.leases {
                    let lease = self.verified(gate, text);
                    gate.leases.insert(lease.id, lease);
                }
            }
            ToGateway::Floor(floor) => {
                gate.leases.retain(|_, lease| lease.sid != floor.sid || lease.epoch >= floor.epoch);
                for text in &floor.keep {
                    let lease = self.verified(gate, text);
                    assert_eq!(lease.epoch, floor.epoch);
                    gate.leases.insert(lease.id, lease);
                }
                self.tell(gate, gateway::FloorHeld { sid: floor.sid, epoch: floor.epoch });
            }
            ToGateway::List(list) => gate.leases.retain(|id, _| list.live.contains(id)),
            ToGateway::Over(over) => {
                gate.leases.remove(&over.lease);
            }
        }
    }

    /// The checks of protocol 5.3 that concern the lease itself.
    pub(crate) fn verified(&self, gate: &Gate, text: &str) -> Lease {
        let lease = lease::verify(text, &self.keyset).unwrap();
        assert_eq!((&lease.org, &lease.gw, lease.run), (&org(), &gate.id, gate.run));
        assert!(lease.ttl <= 300_000 && lease.ttl > 0, "{lease:?}");
        let now = self.beat_of(gate).now;
        assert!(lease.at <= now && now < lease.at + lease.ttl, "{lease:?} at {now}");
        if let Some(known) = gate.leases.get(&lease.id) {
            let stamped = Lease {
                epoch: lease.epoch,
                at: lease.at,
                ttl: lease.ttl,
                decision: lease.decision,
                ..known.clone()
            };
            assert_eq!(lease, stamped, "a renewal changes nothing else");
            assert!(lease.epoch >= known.epoch);
        }
        lease
    }

    /// The gateway asks for all its leases to be renewed.
    pub(crate) fn renew_all(&mut self, gate: &mut Gate) -> Vec<ToGateway> {
        let renew =
            gateway::Renew { beat: self.beat_of(gate), leases: gate.leases.keys().copied().collect() };
        self.tell(gate, renew);
        self.gate_answers(gate)
    }

    pub(crate) fn session(&self, sid: &SessionId) -> &crate::rows::Session {
        &self.pdp.rows().sessions[sid]
    }

    pub(crate) fn device_row(&self, device: &DeviceId) -> &crate::rows::Device {
        &self.pdp.rows().devices[device]
    }
}

pub(crate) fn carrier() -> Carrier {
    Carrier::Udp("192.0.2.9:40000".parse().unwrap())
}

/// A reading that is in order, or is not.
pub(crate) fn reading(kind: FactKind, good: bool) -> Reading {
    use FactKind::*;
    let value = match kind {
        OsSupported => FactValue::Text(if good { "debian 13" } else { "debian 8" }.into()),
        KernelCurrent => FactValue::Text(if good { "6.1" } else { "6.1 < 6.2" }.into()),
        PatchAge => FactValue::Number(if good { 1 } else { 400 }),
        ClockSkew => FactValue::Number(if good { 0 } else { 200 }),
        DiskEncrypted | SecureBoot | Tpm | Firewall | ScreenLock => FactValue::Bool(good),
        AutomaticLogin | RunningAsRoot | DebuggerAttached => FactValue::Bool(!good),
    };
    Reading { kind, observed: Observed::Value(value), source: "test".into(), age_s: 0, simulated: false }
}
