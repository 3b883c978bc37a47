use std::net::IpAddr;
use std::time::Duration;

use cedar_policy::{Context, Entity, EntityUid, RestrictedExpression};
use ztna_model::{DeviceId, Fact, FactKind, FactState, FactValue, GroupId, PersonId, Tier, WallTime};

use super::language::Language;

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Person {
    pub(crate) id: PersonId,
    pub(crate) groups: Vec<GroupId>,
}

/// How they signed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sign {
    pub(crate) acr: Option<String>,
    pub(crate) amr: Vec<String>,
    pub(crate) age: Duration,
}

/// All that a decision rests on besides person, resource and policies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Surroundings {
    pub(crate) sign: Sign,
    pub(crate) device: DeviceId,
    /// As they count at `at`.
    pub(crate) facts: Vec<Fact>,
    pub(crate) from: Option<IpAddr>,
    pub(crate) at: WallTime,
    pub(crate) utc_offset_minutes: i32,
}

/// A request in Cedar's terms, but for the resource.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(super) principal: EntityUid,
    pub(super) person: Entity,
    /// The context of `connect`; none if it could not be built, which denies.
    pub(super) context: Option<Context>,
    pub(super) surroundings: Surroundings,
}

impl Scene {
    pub(crate) fn new(person: &Person, surroundings: Surroundings, language: &Language) -> Self {
        let principal = language.person(&person.id);
        let groups = person.groups.iter().map(|group| language.group(group)).collect();
        let issuer = RestrictedExpression::new_string(person.id.issuer.clone());
        let attributes = [("issuer".to_owned(), issuer)].into_iter().collect();
        let entity = Entity::new(principal.clone(), attributes, groups);
        let person = entity.unwrap_or_else(|_| Entity::with_uid(principal.clone()));
        let context = context(&surroundings, language);
        Self { principal, person, context, surroundings }
    }

    /// The request of a person whose device is in order and who has just signed in.
    pub(crate) fn on_a_fit_device(
        person: &Person,
        at: WallTime,
        utc_offset_minutes: i32,
        language: &Language,
    ) -> Self {
        let facts = FactKind::ALL.map(|kind| passing(&unread(kind, at), at)).into();
        let sign = Sign { acr: None, amr: Vec::new(), age: Duration::ZERO };
        let device = DeviceId([0; 16]);
        let surroundings = Surroundings { sign, device, facts, from: None, at, utc_offset_minutes };
        Self::new(person, surroundings, language)
    }

    /// The facts that the request rests on.
    pub(crate) fn facts(&self) -> impl Iterator<Item = (FactKind, FactState)> {
        self.surroundings.facts.iter().map(|fact| (fact.kind, fact.state))
    }

    /// The same request, had other things been so.
    pub(super) fn had(&self, surroundings: Surroundings, language: &Language) -> Self {
        let context = context(&surroundings, language);
        Self { context, surroundings, ..self.clone() }
    }
}

fn context(surroundings: &Surroundings, language: &Language) -> Option<Context> {
    let parts = [
        ("auth", sign(&surroundings.sign)?),
        ("device", device(surroundings, language)?),
        ("net", net(surroundings.from)?),
        ("time", time(surroundings)?),
    ];
    Context::from_pairs(parts.map(|(name, value)| (name.to_owned(), value))).ok()
}

fn sign(sign: &Sign) -> Option<RestrictedExpression> {
    let text = |text: &String| RestrictedExpression::new_string(text.clone());
    record([
        ("acr", RestrictedExpression::new_string(sign.acr.clone().unwrap_or_default())),
        ("amr", RestrictedExpression::new_set(sign.amr.iter().map(text))),
        ("age_s", long(sign.age.as_secs())),
    ])
}

fn device(surroundings: &Surroundings, language: &Language) -> Option<RestrictedExpression> {
    let id = RestrictedExpression::new_entity_uid(language.device(surroundings.device));
    let mut fields = vec![("id", id)];
    // A kind without a fact leaves the record short of a required field, and every policy that reads it errs: denied.
    for known in &surroundings.facts {
        fields.push((known.kind.as_str(), fact(known, surroundings.at)?));
    }
    record(fields)
}

fn fact(fact: &Fact, at: WallTime) -> Option<RestrictedExpression> {
    let mut fields = vec![
        ("state", RestrictedExpression::new_string(fact.state.as_str().to_owned())),
        ("tier", long(u64::from(u8::from(fact.tier)))),
        ("age_s", long(at.since(fact.as_of).as_secs())),
        ("simulated", RestrictedExpression::new_bool(fact.simulated)),
    ];
    fields.extend(fact.value.as_ref().map(|value| ("value", expression(value))));
    record(fields)
}

fn expression(value: &FactValue) -> RestrictedExpression {
    match value {
        FactValue::Bool(yes) => RestrictedExpression::new_bool(*yes),
        FactValue::Number(number) => RestrictedExpression::new_long(*number),
        FactValue::Text(text) => RestrictedExpression::new_string(text.clone()),
    }
}

fn net(from: Option<IpAddr>) -> Option<RestrictedExpression> {
    record(from.map(|ip| ("ip", RestrictedExpression::new_ip(ip.to_canonical().to_string()))))
}

/// The organisation's own clock: Monday is 1, and minutes count from midnight.
fn time(surroundings: &Surroundings) -> Option<RestrictedExpression> {
    let offset = i64::from(surroundings.utc_offset_minutes);
    let minutes = i64::try_from(surroundings.at.as_secs() / 60).unwrap_or(i64::MAX).saturating_add(offset);
    let weekday = (minutes.div_euclid(MINUTES_A_DAY) + THURSDAY - 1).rem_euclid(7) + 1;
    record([
        ("weekday", RestrictedExpression::new_long(weekday)),
        ("minute", RestrictedExpression::new_long(minutes.rem_euclid(MINUTES_A_DAY))),
    ])
}

fn record<'a>(
    fields: impl IntoIterator<Item = (&'a str, RestrictedExpression)>,
) -> Option<RestrictedExpression> {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    RestrictedExpression::new_record(fields).ok()
}

fn long(number: u64) -> RestrictedExpression {
    RestrictedExpression::new_long(i64::try_from(number).unwrap_or(i64::MAX))
}

/// The fact as it would be if the device were in order.
pub(super) fn passing(fact: &Fact, at: WallTime) -> Fact {
    let value = fact.value.clone().filter(|_| fact.state == FactState::Pass);
    Fact {
        state: FactState::Pass,
        tier: Tier::Hardware,
        value: Some(value.unwrap_or_else(|| fit_value(fact.kind))),
        as_of: at,
        simulated: false,
        ..fact.clone()
    }
}

fn unread(kind: FactKind, at: WallTime) -> Fact {
    Fact {
        kind,
        state: FactState::Unknown,
        tier: Tier::Unproven,
        value: None,
        source: String::new(),
        why: String::new(),
        as_of: at,
        simulated: false,
    }
}

fn fit_value(kind: FactKind) -> FactValue {
    match kind {
        FactKind::OsSupported | FactKind::KernelCurrent => FactValue::Text(String::new()),
        FactKind::PatchAge | FactKind::ClockSkew => FactValue::Number(0),
        FactKind::DiskEncrypted
        | FactKind::SecureBoot
        | FactKind::Tpm
        | FactKind::Firewall
        | FactKind::ScreenLock => FactValue::Bool(true),
        FactKind::AutomaticLogin | FactKind::RunningAsRoot | FactKind::DebuggerAttached => {
            FactValue::Bool(false)
        }
    }
}

const MINUTES_A_DAY: i64 = 24 * 60;
/// 1970-01-01 was one.
const THURSDAY: i64 = 4;
