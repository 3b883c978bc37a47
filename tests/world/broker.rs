use std::collections::{BTreeMap, BTreeSet};

use openidconnect::url::form_urlencoded;
use serde_json::Value;
use ztna_api::admin::{self, Answer, Op, Settings};
use ztna_api::discovery::{Discovery, Versions};
use ztna_api::dpop;
use ztna_api::key;
use ztna_api::keyset::{Key, KeySet, KeyState, KeyUse};
use ztna_api::token;
use ztna_auth::{Request, Response};
use ztna_model::{
    Incarnation, OrgId, OrgString, PersonId, PolicyId, Pseudonym, PublicKey, Resource, RootHash, Secret,
    Signer as _, Time, WallTime, base64url,
};
use ztna_net::keys::{Ed25519Key, P256Key};
use ztna_pdp::audit::Entry;
use ztna_pdp::rows::{self, One, Organisation, Rows};
use ztna_pdp::{
    Admin, Alarm, Batch, ClaimKind, DeviceOpened, Exchange, GatewayOpened, IdToken, Input, Issuer, Keys,
    NotCommitted, Now, Output, Pdp, Refresh, RequestId, SignOut, StreamId, Trust,
};

use super::DeviceId;
use super::chance::Chance;
use super::identity::{CLIENT, ISSUER, answer, ok};
use super::network::{Cable, DeviceHears, GatewayHears, Network, ToBroker};

/// The broker: its decisions are the product's, its store is a list, its web server a `match`.
pub(crate) struct Broker {
    pub(crate) pdp: Pdp,
    root: P256Key,
    keyset: String,
    lease_key: Secret<Vec<u8>>,
    claims: BTreeSet<(ClaimKind, String)>,
    stored: Rows,
    pub(crate) audit: Vec<Entry>,
    pub(crate) alarms: Vec<Alarm>,
    /// Whether the store takes writes.
    pub(crate) store_up: bool,
    devices: BTreeMap<u64, DeviceId>,
    gateways: BTreeMap<u64, usize>,
    gateway_key: PublicKey,
    requests: u64,
    outputs: Vec<Output>,
    chance: Chance,
}

const WALL_AT_ZERO: WallTime = WallTime::from_secs(1_795_435_200);

const SEE: &str = r#"permit(principal in Group::"staff", action == Action::"see", resource in Site::"hq")
    unless { resource == Resource::"ledger" };"#;
const WIKI: &str =
    r#"permit(principal in Group::"staff", action == Action::"connect", resource == Resource::"wiki");"#;
const PAYROLL: &str = r#"permit(principal in Group::"staff", action == Action::"connect", resource == Resource::"payroll")
    when { context.device.disk_encrypted.state == "pass" };"#;

impl Broker {
    pub(crate) fn new(chance: &mut Chance, now: Time) -> (Self, P256Key) {
        let (root, gateway) = (p256(), p256());
        let lease_key = Ed25519Key::generate().unwrap();
        let lease = Ed25519Key::from_pkcs8(&lease_key).unwrap();
        let row = Key {
            usage: KeyUse::Lease,
            state: KeyState::Current,
            jwk: lease.public_key(),
            certificate: None,
        };
        let keyset = KeySet { org: org(), seq: 1, keys: vec![row] }.sign(&root).unwrap();
        let stored = first_rows(gateway.public_key());
        let pin = key::root_hash(&root.public_key());
        let pdp = start(stored.clone(), &lease_key, &keyset, pin, chance, now);
        let broker = Self {
            pdp,
            root,
            keyset,
            lease_key,
            claims: BTreeSet::new(),
            stored,
            audit: Vec::new(),
            alarms: Vec::new(),
            store_up: true,
            devices: BTreeMap::new(),
            gateways: BTreeMap::new(),
            gateway_key: gateway.public_key(),
            requests: 0,
            outputs: Vec::new(),
            chance: chance.fork(),
        };
        (broker, gateway)
    }

    pub(crate) fn org_string(&self) -> OrgString {
        OrgString { org: org(), root: Some(self.root_hash()) }
    }

    pub(crate) fn root_hash(&self) -> RootHash {
        key::root_hash(&self.root.public_key())
    }

    /// The process is killed and started again on what its store holds. Every stream is gone.
    pub(crate) fn restart(&mut self, now: Time, network: &mut Network) {
        let pin = self.root_hash();
        self.pdp = start(self.stored.clone(), &self.lease_key, &self.keyset, pin, &mut self.chance, now);
        for (stream, device) in std::mem::take(&mut self.devices) {
            network.send(now, Cable::ToDevice(device, DeviceHears::StreamClosed(stream, false)));
        }
        for (stream, gateway) in std::mem::take(&mut self.gateways) {
            network.send(now, Cable::ToGateway(gateway, GatewayHears::Closed(stream)));
        }
    }

    /// What an administrator asks for, done at once.
    pub(crate) fn admin(
        &mut self,
        op: Op,
        now: Time,
        network: &mut Network,
    ) -> Result<Answer, admin::AdminError> {
        let request = self.request();
        self.handle(Input::Admin(Admin { request, uid: 0, op }), now);
        let position =
            self.outputs.iter().position(|output| matches!(output, Output::Admin(id, _) if *id == request));
        let Some(Output::Admin(_, outcome)) = position.map(|position| self.outputs.remove(position)) else {
            panic!("an administrator is answered")
        };
        self.turn(now, network);
        outcome
    }

    pub(crate) fn next_wake(&self) -> Option<Time> {
        self.pdp.next_wake()
    }

    pub(crate) fn receive(&mut self, message: ToBroker, now: Time, network: &mut Network) {
        match message {
            ToBroker::Call(device, call, request) => {
                let response = Box::new(self.web(&request, now));
                network.send(now, Cable::ToDevice(device, DeviceHears::Answer(call, Ok(response))));
            }
            ToBroker::OpenStream(device, stream, request) => {
                self.open(device, stream, &request, now, network);
            }
            ToBroker::Frame(stream, frame) => self.handle(Input::FromDevice(StreamId(stream), *frame), now),
            ToBroker::StreamClosed(stream) => {
                if self.devices.remove(&stream).is_some() {
                    self.handle(Input::DeviceClosed(StreamId(stream)), now);
                }
            }
            ToBroker::GatewayOpened(gateway, stream) => {
                self.gateways.insert(stream, gateway);
                let id = "gw-1".parse().unwrap();
                let opened = GatewayOpened { stream: StreamId(stream), gateway: id, key: self.gateway_key };
                self.handle(Input::GatewayOpened(opened), now);
                network.send(now, Cable::ToGateway(gateway, GatewayHears::Opened(stream)));
            }
            // As the kernel answers what comes over a connection that nobody has any more.
            ToBroker::GatewayFrame(stream, _) if !self.gateways.contains_key(&stream) => {
                network.send(now, Cable::ToGateway(0, GatewayHears::Closed(stream)));
            }
            ToBroker::GatewayFrame(stream, frame) => {
                self.handle(Input::FromGateway(StreamId(stream), *frame), now);
            }
            ToBroker::GatewayClosed(stream) => {
                if self.gateways.remove(&stream).is_some() {
                    self.handle(Input::GatewayClosed(StreamId(stream)), now);
                }
            }
        }
    }

    /// Does what is due and sends what is decided. Says whether there was anything.
    pub(crate) fn turn(&mut self, now: Time, network: &mut Network) -> bool {
        let mut busy = false;
        if self.pdp.next_wake().is_some_and(|at| at <= now) {
            self.handle(Input::Woken, now);
            busy = true;
        }
        for output in std::mem::take(&mut self.outputs) {
            busy = true;
            match output {
                Output::ToDevice(StreamId(stream), frame) => {
                    if let Some(device) = self.devices.get(&stream) {
                        let heard = DeviceHears::Frame(stream, Box::new(frame));
                        network.send(now, Cable::ToDevice(*device, heard));
                    }
                }
                Output::ToGateway(StreamId(stream), frame) => {
                    if let Some(gateway) = self.gateways.get(&stream) {
                        let heard = GatewayHears::Frame(stream, Box::new(frame));
                        network.send(now, Cable::ToGateway(*gateway, heard));
                    }
                }
                Output::Close(StreamId(stream)) => {
                    if let Some(device) = self.devices.remove(&stream) {
                        network.send(now, Cable::ToDevice(device, DeviceHears::StreamClosed(stream, false)));
                    }
                    if let Some(gateway) = self.gateways.remove(&stream) {
                        network.send(now, Cable::ToGateway(gateway, GatewayHears::Closed(stream)));
                    }
                }
                // Answers were taken by whoever asked; certificates are not signed here.
                _ => {}
            }
        }
        busy
    }

    fn open(&mut self, device: DeviceId, stream: u64, request: &Request, now: Time, network: &mut Network) {
        let token = bearer(request);
        let Ok(proof) = self.proof(request, Some(&token), now) else {
            return network.send(now, Cable::ToDevice(device, DeviceHears::StreamClosed(stream, true)));
        };
        let address = [192, 0, 2, 1].into();
        let opened = DeviceOpened { stream: StreamId(stream), proof, token: Secret::new(token), address };
        self.devices.insert(stream, device);
        self.handle(Input::DeviceOpened(opened), now);
        let position = self
            .outputs
            .iter()
            .position(|output| matches!(output, Output::Stream(StreamId(id), _) if *id == stream));
        let accepted =
            matches!(position.map(|position| self.outputs.remove(position)), Some(Output::Stream(_, Ok(()))));
        let heard = if accepted {
            DeviceHears::StreamOpened(stream)
        } else {
            DeviceHears::StreamClosed(stream, true)
        };
        network.send(now, Cable::ToDevice(device, heard));
    }

    fn web(&mut self, request: &Request, now: Time) -> Response {
        match request.uri().path() {
            "/.well-known/openztna" => ok(&serde_json::to_value(self.discovery(now)).unwrap()),
            token::NONCE_PATH => {
                let now = self.now(now);
                ok(&serde_json::to_value(self.pdp.nonce(now)).unwrap())
            }
            token::TOKEN_PATH => self.token(request, now),
            token::SIGN_OUT_PATH => {
                let token = bearer(request);
                let id = self.request();
                if let Ok(proof) = self.proof(request, Some(&token), now) {
                    self.handle(
                        Input::SignOut(SignOut { request: id, proof, token: Secret::new(token) }),
                        now,
                    );
                }
                ok(&Value::Null)
            }
            other => panic!("the broker has no {other}"),
        }
    }

    fn token(&mut self, request: &Request, now: Time) -> Response {
        let Ok(proof) = self.proof(request, None, now) else {
            return answer(400, &serde_json::json!({"error": "invalid_dpop_proof"}));
        };
        let form: BTreeMap<String, String> = form_urlencoded::parse(request.body()).into_owned().collect();
        let id = self.request();
        if form["grant_type"] == token::REFRESH {
            let token = Secret::new(form["refresh_token"].clone());
            self.handle(Input::Refresh(Refresh { request: id, proof, token }), now);
        } else {
            let exchange = Exchange {
                request: id,
                proof,
                id_token: id_token(&form["subject_token"]),
                salt: form["salt"].clone(),
                device_name: form["device_name"].clone(),
                enrolment: form.get("enrolment_token").cloned().map(Secret::new),
            };
            self.handle(Input::Exchange(Box::new(exchange)), now);
        }
        let position =
            self.outputs.iter().position(|output| matches!(output, Output::Tokens(found, _) if *found == id));
        let mut response = match position.map(|position| self.outputs.remove(position)) {
            Some(Output::Tokens(_, Ok(tokens))) => ok(&serde_json::to_value(tokens).unwrap()),
            Some(Output::Tokens(_, Err(error))) => answer(400, &serde_json::to_value(error).unwrap()),
            _ => panic!("a token request is answered"),
        };
        let nonce = self.pdp.nonce(self.now(now)).nonce;
        response.headers_mut().insert("dpop-nonce", nonce.parse().unwrap());
        response
    }

    fn proof(
        &self,
        request: &Request,
        token: Option<&str>,
        now: Time,
    ) -> Result<dpop::Proof, dpop::ProofError> {
        let (method, uri) = (request.method().as_str(), request.uri().to_string());
        let expected = dpop::Expected { method, uri: &uri, access_token: token, now: wall(now) };
        dpop::verify(request.headers()["dpop"].to_str().unwrap(), expected)
    }

    fn discovery(&self, now: Time) -> Discovery {
        Discovery {
            org: org(),
            title: "Acme".into(),
            issuer: ISSUER.into(),
            client_id: CLIENT.into(),
            scopes: vec!["openid".into()],
            keys: self.keyset.clone(),
            versions: Versions::OURS,
            time: wall(now),
        }
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn now(&self, now: Time) -> Now {
        Now { boot: now, wall: wall(now) }
    }

    fn handle(&mut self, input: Input, now: Time) {
        self.pdp.handle(input, self.now(now));
        while let Some(output) = self.pdp.poll() {
            match output {
                Output::Commit(batch) => {
                    let outcome = self.commit(&batch);
                    self.pdp.handle(outcome, self.now(now));
                }
                Output::Alarm(alarm) => self.alarms.push(alarm),
                output => self.outputs.push(output),
            }
        }
    }

    fn commit(&mut self, batch: &Batch) -> Input {
        let name = |claim: &ztna_pdp::Claim| (claim.kind, claim.id.clone());
        if !self.store_up {
            return Input::NotCommitted(batch.id, NotCommitted::StoreDown);
        }
        if let Some(claim) = batch.claims.iter().find(|claim| self.claims.contains(&name(claim))) {
            return Input::NotCommitted(batch.id, NotCommitted::AlreadyClaimed(claim.clone()));
        }
        self.claims.extend(batch.claims.iter().map(name));
        batch.writes.iter().for_each(|write| self.stored.apply(write));
        self.audit.extend(batch.audit.iter().cloned());
        Input::Committed(batch.id)
    }
}

fn start(
    rows: Rows,
    lease: &Secret<Vec<u8>>,
    keyset: &str,
    root: RootHash,
    chance: &mut Chance,
    now: Time,
) -> Pdp {
    let issuer = Issuer { identifier: ISSUER.into(), client_id: CLIENT.into(), domains: vec![] };
    let trust = Trust { org: org(), issuers: vec![issuer] };
    let lease = Box::new(Ed25519Key::from_pkcs8(lease).unwrap());
    let keys = Keys { lease, nonce: Secret::new([7; 32]), keyset: keyset.into(), root };
    let now = Now { boot: now, wall: wall(now) };
    Pdp::new(trust, rows, keys, Box::new(chance.fork()), now).unwrap()
}

fn first_rows(gateway: PublicKey) -> Rows {
    let mut rows = Rows::new(org());
    let requirements = serde_json::from_str(r#"{"tier": 0, "simulated": true}"#).unwrap();
    let settings = Settings { requirements, ..Settings::default() };
    rows.organisation.insert(One, Organisation { incarnation: Incarnation([9; 16]), settings });
    let group = serde_json::from_value(serde_json::json!({"id": "staff", "title": "Staff"})).unwrap();
    rows.groups.insert("staff".parse().unwrap(), group);
    for (number, name) in [(1, "ana"), (2, "bo")] {
        let person = rows::Person {
            id: person(name),
            name: name.into(),
            email: None,
            pseudonym: Pseudonym([number; 16]),
            groups: ["staff".parse().unwrap()].into(),
            claimed: BTreeSet::new(),
            roles: BTreeSet::new(),
            since: None,
            not_before: WallTime::EPOCH,
        };
        rows.people.insert(person.id.clone(), person);
    }
    let site = serde_json::from_value(serde_json::json!({"id": "hq", "title": "HQ"})).unwrap();
    rows.sites.insert("hq".parse().unwrap(), site);
    for id in ["wiki", "payroll", "ledger"] {
        rows.resources.insert(id.parse().unwrap(), resource(id));
    }
    for (id, text) in [("see", SEE), ("wiki", WIKI), ("payroll", PAYROLL)] {
        let id: PolicyId = id.parse().unwrap();
        let policy = admin::Policy { id: id.clone(), text: text.into(), version: 1, changed: WALL_AT_ZERO };
        rows.policies.insert(id, policy);
    }
    let (id, site) = ("gw-1".parse().unwrap(), "hq".parse().unwrap());
    rows.gateways
        .insert("gw-1".parse().unwrap(), rows::Gateway { id, site, key: Some(gateway), revoked: None });
    rows
}

fn resource(id: &str) -> Resource {
    serde_json::from_value(serde_json::json!({
        "id": id, "title": id, "site": "hq", "address": {"name": format!("{id}.demo")},
        "protocol": "udp", "ports": "7", "target": "10.0.0.1:7",
    }))
    .unwrap()
}

/// What the broker's web server reads out of an ID token whose signature holds.
fn id_token(text: &str) -> IdToken {
    let payload = base64url::decode(text.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    let text_of = |name: &str| claims[name].as_str().map(str::to_owned);
    let time = |name: &str| claims[name].as_u64().map(WallTime::from_secs);
    IdToken {
        hash: key::sha256(text.as_bytes()),
        issuer: text_of("iss").unwrap(),
        subject: text_of("sub").unwrap(),
        audiences: vec![text_of("aud").unwrap()],
        authorized_party: None,
        expires: time("exp").unwrap(),
        issued: time("iat").unwrap(),
        nonce: text_of("nonce"),
        idp_sid: None,
        acr: None,
        amr: vec!["pwd".into()],
        auth_time: time("auth_time"),
        email: None,
        email_verified: false,
        name: text_of("name"),
        groups: vec![],
    }
}

fn bearer(request: &Request) -> String {
    let header = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    header.and_then(|value| value.strip_prefix("DPoP ").map(str::to_owned)).unwrap_or_default()
}

pub(crate) fn org() -> OrgId {
    "https://acme.example".parse().unwrap()
}

pub(crate) fn person(subject: &str) -> PersonId {
    PersonId { issuer: ISSUER.into(), subject: subject.into() }
}

fn p256() -> P256Key {
    P256Key::from_pkcs8(&P256Key::generate().unwrap()).unwrap()
}

/// The wall clock that everybody agrees on.
pub(crate) fn wall(now: Time) -> WallTime {
    WALL_AT_ZERO + now.since(Time::ZERO)
}
