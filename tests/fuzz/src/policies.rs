//! What administrators write: policies, and operations of every kind.

use ztna_api::admin::{self, Answer, Op, Role, Settings};
use ztna_api::wire;
use ztna_model::{
    Incarnation, PersonId, Pseudonym, PublicKey, RootHash, Secret, SignError, Signer, Time, WallTime, secs,
};
use ztna_pdp::rows::{One, Organisation, Person, Rows};
use ztna_pdp::{Admin, Input, Keys, Now, Output, Pdp, RequestId, Trust};

use crate::Chance;

/// Policies: what is taken is kept as it came and can be decided with, what is refused changes nothing.
pub(crate) fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut desk = Desk::new();
    let policy: ztna_model::PolicyId = "p".parse().expect("an id");
    let put = desk.ask(Op::PolicyPut { policy: policy.clone(), text: text.into() });
    let Ok(Answer::Policies { policies }) = desk.ask(Op::Policies {}) else { panic!("no list of policies") };
    assert_eq!(policies.len(), usize::from(put.is_ok()), "what is taken is there, and nothing else");
    assert!(policies.iter().all(|kept| kept.text == text), "a policy is kept as it came");
    let resource = "wiki".parse().expect("an id");
    let tested = desk.ask(Op::PolicyTest { person: owner(), device: None, resource });
    assert!(tested.is_ok(), "a policy that was taken can be decided with");
}

/// Administrators' operations, one line each: whatever they ask for, an owner stays.
pub(crate) fn operations(bytes: &[u8]) {
    let mut desk = Desk::new();
    for line in bytes.split(|byte| *byte == b'\n').take(16) {
        if let Ok(admin::Request { op, .. }) = wire::read::<admin::Request>(line, admin::LONGEST) {
            let _outcome = desk.ask(op);
        }
    }
    let Ok(Answer::People { people, .. }) = desk.ask(Op::People {}) else { panic!("no list of people") };
    assert!(people.iter().any(|person| person.roles.contains(&Role::Owner)), "nobody is left to administer");
}

/// A broker's decisions over a store that takes everything.
struct Desk {
    pdp: Pdp,
    requests: u64,
}

impl Desk {
    fn new() -> Self {
        let org: ztna_model::OrgId = "https://acme.example".parse().expect("an organisation");
        let mut rows = Rows::new(org.clone());
        let row = Organisation { incarnation: Incarnation([9; 16]), settings: Settings::default() };
        rows.organisation.insert(One, row);
        rows.people.insert(owner(), an_owner());
        for id in ["staff", "contractors"] {
            rows.groups
                .insert(id.parse().expect("an id"), json(&format!(r#"{{"id": "{id}", "title": ""}}"#)));
        }
        rows.sites.insert("hq".parse().expect("an id"), json(r#"{"id": "hq", "title": "HQ"}"#));
        for id in ["wiki", "payroll"] {
            rows.resources.insert(id.parse().expect("an id"), json(&RESOURCE.replace("ID", id)));
        }
        let keys = Keys {
            lease: Box::new(NoKey),
            nonce: Secret::new([7; 32]),
            keyset: String::new(),
            root: RootHash([3; 32]),
        };
        let trust = Trust { org, issuers: vec![] };
        let pdp = Pdp::new(trust, rows, keys, Box::new(Chance(1)), at()).expect("a broker starts");
        Self { pdp, requests: 0 }
    }

    fn ask(&mut self, op: Op) -> Result<Answer, admin::AdminError> {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.pdp.handle(Input::Admin(Admin { request, uid: 0, op }), at());
        let mut answer = None;
        while let Some(output) = self.pdp.poll() {
            if let Output::Commit(batch) = output {
                self.pdp.handle(Input::Committed(batch.id), at());
            } else if let Output::Admin(_, outcome) = output {
                answer = Some(outcome);
            }
        }
        answer.expect("an administrator is answered")
    }
}

fn at() -> Now {
    Now { boot: Time::ZERO + secs(1_000), wall: WallTime::from_secs(1_800_000_000) }
}

fn owner() -> PersonId {
    PersonId { issuer: "https://id.example".into(), subject: "ana".into() }
}

fn an_owner() -> Person {
    Person {
        id: owner(),
        name: "Ana".into(),
        email: None,
        pseudonym: Pseudonym([1; 16]),
        groups: ["staff".parse().expect("an id")].into(),
        claimed: Default::default(),
        roles: [Role::Owner].into(),
        since: None,
        not_before: WallTime::EPOCH,
    }
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> T {
    wire::read(text.as_bytes(), 4_096).expect("a row")
}

/// A key that signs nothing.
struct NoKey;

impl Signer for NoKey {
    fn public_key(&self) -> PublicKey {
        PublicKey::Ed25519 { x: [0; 32] }
    }

    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, SignError> {
        Err(SignError::KeyLost)
    }
}

const RESOURCE: &str = r#"{"id": "ID", "title": "ID", "site": "hq", "address": {"name": "ID.demo"},
    "protocol": "tcp", "ports": "443", "target": "10.0.0.1:443"}"#;
