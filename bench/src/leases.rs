//! A broker's and a device's signatures, for a gateway to check.

use ztna_api::gateway::{Offered, Welcome};
use ztna_api::key::{root_hash, thumbprint};
use ztna_api::keyset::{Key, KeySet, KeyState, KeyUse};
use ztna_api::lease;
use ztna_api::statement::{self, Body, Statement};
use ztna_datapath::{Datapath, Side};
use ztna_gate::{Config, Gate, Reach};
use ztna_model::{
    DecisionId, DeviceId, Epoch, GatewayId, Holder, Incarnation, Jkt, Lease, LeaseId, Limits, Match, OrgId,
    Protocol, Pseudonym, Random as _, Rule, RunId, Secret, SessionId, Signer as _, Synthetic, Time, WgPublic,
};
use ztna_net::keys::{Ed25519Key, P256Key};
use ztna_policy::Table;
use ztna_tunnel::Tunnel;

use crate::measure::Outcome;
use crate::rules::LIMITS;
use crate::seed::Seed;

/// Who signs: the organisation's root, its lease key, and one device.
pub(crate) struct Signers {
    pub(crate) org: OrgId,
    pub(crate) keys: KeySet,
    pub(crate) device: P256Key,
    root: P256Key,
    broker: Ed25519Key,
    gateway: GatewayId,
    incarnation: Incarnation,
    run: RunId,
}

/// One session of the device, and the statement about its tunnel key.
pub(crate) struct Session {
    pub(crate) sid: SessionId,
    pub(crate) statement: String,
    key: WgPublic,
}

impl Signers {
    pub(crate) fn new() -> Outcome<Self> {
        let p256 = || P256Key::from_pkcs8(&P256Key::generate()?);
        let broker = Ed25519Key::from_pkcs8(&Ed25519Key::generate()?)?;
        let org: OrgId = "https://acme.example".parse()?;
        let (usage, state, certificate) = (KeyUse::Lease, KeyState::Current, None);
        let keys = vec![Key { usage, state, jwk: broker.public_key(), certificate }];
        Ok(Self {
            keys: KeySet { org: org.clone(), seq: 1, keys },
            org,
            device: p256()?,
            root: p256()?,
            broker,
            gateway: "gw-1".parse()?,
            incarnation: Incarnation([1; 16]),
            run: RunId([2; 16]),
        })
    }

    /// A gateway that trusts the lease key, and holds nothing.
    pub(crate) fn gate(&self, now: Time) -> Outcome<Gate> {
        let config = Config {
            org: self.org.clone(),
            gateway: self.gateway.clone(),
            run: self.run,
            root: root_hash(&self.root.public_key()),
            reach: Reach::new(vec!["*.internal".parse()?]),
            serves_own_machine: false,
            most_leases: LIMITS.rules as usize,
        };
        let tunnel = Tunnel::new(&Secret::new([3; 32]), Tunnel::DEFAULT_MTU, now);
        let datapath = Datapath::new(Side::Gateway, tunnel, Table::new([4; 16], LIMITS));
        Ok(Gate::new(config, datapath, Box::new(Seed::new(41))))
    }

    /// What the broker tells the gateway first.
    pub(crate) fn welcome(&self) -> Outcome<Welcome> {
        let (gateway, incarnation) = (self.gateway.clone(), self.incarnation);
        Ok(Welcome { version: 1, gateway, incarnation, keys: self.keys.sign(&self.root)? })
    }

    /// Session `number` of the device.
    pub(crate) fn session(&self, number: u64) -> Outcome<Session> {
        let mut seed = Seed::new(number);
        let (sid, key) = (SessionId(seed.array()), WgPublic(seed.array()));
        let statement = Statement {
            org: self.org.clone(),
            sid,
            nonce: "0123456789abcdef0123456789abcdef".into(),
            body: Body::TunnelKey { wg_pub: key },
        };
        Ok(Session { sid, statement: statement::sign(&self.device, &statement)?, key })
    }

    /// A session's lease on resource `number`.
    pub(crate) fn lease(&self, session: &Session, number: u16, epoch: Epoch, now: Time) -> Outcome<Lease> {
        let name = format!("app-{number}.internal");
        let mut id = session.sid.0;
        id.iter_mut().zip(number.to_be_bytes()).for_each(|(byte, from)| *byte ^= from);
        Ok(Lease {
            org: self.org.clone(),
            incarnation: self.incarnation,
            id: LeaseId(id),
            sid: session.sid,
            epoch,
            jkt: self.jkt(),
            person: Pseudonym([5; 16]),
            device: DeviceId([6; 16]),
            decision: DecisionId([7; 16]),
            gw: self.gateway.clone(),
            run: self.run,
            at: now.as_millis(),
            ttl: 300_000,
            holder: Holder::Tunnel { wg_pub: session.key, statement: session.statement.clone() },
            rule: Rule {
                resource: format!("app-{number}").parse()?,
                protocol: Protocol::Tcp,
                ports: "443".parse()?,
                covers: Match::Name { name: name.parse()?, synthetic: Synthetic::from_index(number) },
            },
            target: name.parse()?,
            limits: Limits::default(),
        })
    }

    /// The lease as it goes to the gateway.
    pub(crate) fn sign(&self, lease: &Lease) -> Outcome<String> {
        Ok(lease::sign(&self.broker, lease)?)
    }

    /// An offer of a session's lease on resource `number`.
    pub(crate) fn offer(&self, session: &Session, number: u16, epoch: Epoch, now: Time) -> Outcome<Offered> {
        Ok(Offered { lease: self.sign(&self.lease(session, number, epoch, now)?)?, carriers: Vec::new() })
    }

    /// The print of the device's key.
    pub(crate) fn jkt(&self) -> Jkt {
        thumbprint(&self.device.public_key())
    }
}
