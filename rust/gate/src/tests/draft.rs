use ztna_api::jws::{self, Header};
use ztna_api::key;
use ztna_api::statement::{self, Body, Statement};
use ztna_model::{
    DecisionId, DeviceId, Epoch, Holder, Lease, LeaseId, Limits, Match, Protocol, Pseudonym, Rule, Signer,
    Synthetic,
};
use ztna_net::keys::{Ed25519Key, P256Key};

use super::site::{Device, RUN, Site, TTL};

/// A lease on its way to be signed: what a row of a table changes one thing about.
pub(super) struct Draft {
    pub(super) lease: Lease,
    /// What the device states about its WireGuard key.
    pub(super) statement: Statement,
    pub(super) header: Header,
    pub(super) typ: &'static str,
    /// Who signs, instead of the broker's lease key.
    pub(super) signer: Option<Ed25519Key>,
    /// What happens to the text on its way.
    pub(super) edit: fn(String) -> String,
}

impl Draft {
    /// A sound lease for the device to application `app`, by the site's latest beat.
    pub(super) fn new(site: &Site, device: &Device, app: u8) -> Self {
        let org = "https://acme.example".parse().unwrap();
        let statement = Statement {
            org,
            sid: device.sid,
            nonce: "nonce".into(),
            body: Body::TunnelKey { wg_pub: device.wg_pub() },
        };
        let lease = Lease {
            org: statement.org.clone(),
            incarnation: site.broker.incarnation,
            id: LeaseId([device.number, app, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            sid: device.sid,
            epoch: Epoch(1),
            jkt: key::thumbprint(&device.key.public_key()),
            person: Pseudonym([1; 16]),
            device: DeviceId([device.number; 16]),
            decision: DecisionId([1; 16]),
            gw: "gw-1".parse().unwrap(),
            run: RUN,
            at: site.now.as_millis(),
            ttl: u64::try_from(TTL.as_millis()).unwrap(),
            holder: Holder::Tunnel { wg_pub: device.wg_pub(), statement: String::new() },
            rule: Rule {
                resource: format!("app-{app}").parse().unwrap(),
                protocol: Protocol::Udp,
                ports: "53".parse().unwrap(),
                covers: named(&format!("app-{app}.demo"), app.into()),
            },
            target: format!("app-{app}.internal:80").parse().unwrap(),
            limits: Limits::default(),
        };
        let mut draft = Self {
            lease,
            statement,
            header: Header::default(),
            typ: "openztna-lease+jws",
            signer: None,
            edit: |text| text,
        };
        draft.state(&device.key);
        draft
    }

    /// Has the statement signed by `key`, as it is now.
    pub(super) fn state(&mut self, key: &P256Key) {
        let text = statement::sign(key, &self.statement).unwrap();
        self.put_statement(text);
    }

    pub(super) fn put_statement(&mut self, text: String) {
        let Holder::Tunnel { statement, .. } = &mut self.lease.holder;
        *statement = text;
    }

    /// The lease as the gate gets it.
    pub(super) fn text(&self, site: &Site) -> String {
        let signer = self.signer.as_ref().unwrap_or(&site.broker.lease_key);
        let kid = Some(key::thumbprint(&signer.public_key()).to_string());
        let header = Header { kid: self.header.kid.clone().or(kid), ..self.header.clone() };
        (self.edit)(jws::sign(signer, self.typ, &self.lease, header).unwrap())
    }
}

pub(super) fn named(name: &str, index: u16) -> Match {
    Match::Name { name: name.parse().unwrap(), synthetic: Synthetic::from_index(index) }
}
