//! What rows change about a draft, or about the site it comes to.

use ztna_api::key::thumbprint;
use ztna_api::statement::{Body, Confirmed, Statement};
use ztna_model::{DeviceId, Holder, Inner, Match, Protocol, Signer as _, Synthetic, base64url, millis, secs};
use ztna_net::keys::Ed25519Key;

use super::draft::Draft;
use super::site::{Device, START, Site};

/// A device of session `session` with the WireGuard key of device `key`.
pub(super) fn imposter(session: u8, key: u8) -> Device {
    let mut device = Device::new(session);
    device.restart(key, START);
    device
}

pub(super) fn take(site: &mut Site, device: &Device, app: u8) {
    let draft = Draft::new(site, device, app);
    site.offer(&draft).unwrap();
}

pub(super) fn take_and_lose(site: &mut Site, device: &Device) {
    take(site, device, 2);
    site.end_all();
}

/// Another session holds device 1's key, and device 1's session holds another.
pub(super) fn two_keys(site: &mut Site) {
    take(site, &imposter(2, 1), 2);
    take(site, &imposter(1, 77), 3);
}

pub(super) fn fill(site: &mut Site, leases: usize) {
    for number in (100..).take(leases) {
        take(site, &Device::new(number), 1);
    }
}

/// The lease is taken, and a second later changed.
pub(super) fn again(site: &mut Site, draft: &mut Draft, change: fn(&mut Draft)) {
    site.offer(draft).unwrap();
    site.after(secs(1));
    change(draft);
}

pub(super) fn restate(draft: &mut Draft, change: fn(&mut Statement)) {
    let device = Device::new(1);
    change(&mut draft.statement);
    draft.lease.jkt = thumbprint(&device.key.public_key());
    draft.state(&device.key);
}

pub(super) fn elsewhere(statement: &mut Statement) {
    statement.org = "https://other.example".parse().unwrap();
}

pub(super) fn about_another_key(statement: &mut Statement) {
    statement.body = Body::TunnelKey { wg_pub: Device::new(9).wg_pub() };
}

pub(super) fn confirmation(statement: &mut Statement) {
    statement.body = Body::Confirm { device: DeviceId([2; 16]), action: Confirmed::Admit };
}

pub(super) fn another_key(draft: &mut Draft) {
    let Holder::Tunnel { wg_pub, .. } = &mut draft.lease.holder;
    *wg_pub = Device::new(9).wg_pub();
}

pub(super) fn own_key(site: &Site, draft: &mut Draft) {
    speak_of(draft, site.gate.datapath.tunnel.public().0);
}

pub(super) fn zero_key(draft: &mut Draft) {
    speak_of(draft, [0; 32]);
}

/// Lease and statement agree on a key.
pub(super) fn speak_of(draft: &mut Draft, key: [u8; 32]) {
    let Holder::Tunnel { wg_pub, .. } = &mut draft.lease.holder;
    wg_pub.0 = key;
    draft.statement.body = Body::TunnelKey { wg_pub: *wg_pub };
    restate(draft, |_| {});
}

pub(super) fn aim(draft: &mut Draft, target: &str) {
    draft.lease.target = target.parse().unwrap();
}

pub(super) fn cover(draft: &mut Draft, prefix: &str) {
    draft.lease.rule.covers = Match::Prefix(prefix.parse().unwrap());
}

pub(super) fn put_stand_in(draft: &mut Draft, pair: Synthetic) {
    draft.lease.rule.covers = Match::Name { name: "app-1.demo".parse().unwrap(), synthetic: pair };
}

pub(super) fn device_pair() -> Synthetic {
    Synthetic { v4: Inner::DEVICE.v4, v6: Inner::DEVICE.v6 }
}

pub(super) fn mixed_pair() -> Synthetic {
    Synthetic { v4: Synthetic::from_index(1).v4, v6: Synthetic::from_index(2).v6 }
}

/// The session has a lease for the same name on another port.
pub(super) fn same_name(site: &mut Site, draft: &Draft) {
    let mut other = Draft::new(site, &Device::new(1), 2);
    other.lease.rule.covers = draft.lease.rule.covers.clone();
    other.lease.rule.ports = "443".parse().unwrap();
    site.offer(&other).unwrap();
}

/// A lease of the session `session` uses the stand-in for another name.
pub(super) fn stand_in_of(site: &mut Site, draft: &Draft, session: u8) {
    let Match::Name { synthetic, .. } = draft.lease.rule.covers else { panic!() };
    let mut other = Draft::new(site, &Device::new(session), 2);
    other.lease.rule.covers = Match::Name { name: "other.demo".parse().unwrap(), synthetic };
    site.offer(&other).unwrap();
}

pub(super) fn stand_in_of_the_gone(site: &mut Site, draft: &Draft) {
    stand_in_of(site, draft, 1);
    let name = draft.lease.id;
    assert!(!site.leases().contains(&name));
    site.end_all();
}

pub(super) fn other_resource(draft: &mut Draft) {
    draft.lease.rule.resource = "app-2".parse().unwrap();
}

pub(super) fn other_protocol(draft: &mut Draft) {
    draft.lease.rule.protocol = Protocol::Tcp;
}

pub(super) fn beat_after_jump(site: &mut Site, draft: &mut Draft) {
    site.jump();
    site.after(millis(1));
    draft.lease.at = site.now.as_millis();
}

/// A floor is raised; `millis` later a lease of before is offered that lives as long as it can.
pub(super) fn late_after_floor(site: &mut Site, draft: &mut Draft, span: u64) {
    site.floor(1, 2);
    site.after(millis(span));
    draft.lease.at = site.now.as_millis();
}

pub(super) fn some_key() -> Ed25519Key {
    Site::new().broker.lease_key
}

pub(super) fn audit_kid(site: &Site) -> String {
    thumbprint(&site.broker.other_key.public_key()).to_string()
}

pub(super) fn sign_with_audit_key(site: &mut Site, draft: &mut Draft) {
    draft.signer = Some(std::mem::replace(&mut site.broker.other_key, some_key()));
}

pub(super) fn sign_with_next(site: &mut Site, draft: &mut Draft) {
    draft.signer = Some(std::mem::replace(&mut site.broker.next_key, some_key()));
}

pub(super) fn longer_ttl(text: String) -> String {
    edit_claims(&text, |claims| claims.replace(r#""ttl":120000"#, r#""ttl":300000"#))
}

pub(super) fn edit_claims(text: &str, edit: fn(String) -> String) -> String {
    let [header, claims, signature] = text.split('.').collect::<Vec<_>>()[..] else { panic!("{text}") };
    let before = String::from_utf8(base64url::decode(claims).unwrap()).unwrap();
    let after = edit(before.clone());
    assert_ne!(before, after);
    format!("{header}.{}.{signature}", base64url::encode(after))
}

/// `alg` none, nothing behind the last dot.
pub(super) fn unsigned(text: String) -> String {
    let claims = text.split('.').nth(1).unwrap();
    let header = r#"{"alg":"none","typ":"openztna-lease+jws","kid":"x"}"#;
    format!("{}.{claims}.", base64url::encode(header))
}

pub(super) fn cut_signature(text: String) -> String {
    let (signed, _) = text.rsplit_once('.').unwrap();
    format!("{signed}.")
}

pub(super) fn flipped_signature(text: String) -> String {
    let (signed, signature) = text.rsplit_once('.').unwrap();
    let mut bytes = base64url::decode(signature).unwrap();
    bytes[0] ^= 1;
    format!("{signed}.{}", base64url::encode(bytes))
}
