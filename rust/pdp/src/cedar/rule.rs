use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{
    Effect, EntityTypeName, EntityUid, Policy, PolicyId as CedarId, PolicySet, ResourceConstraint,
    ValidationMode,
};
use serde_json::Value;
use ztna_model::{FactKind, GroupId, PolicyId, Resource, ResourceId, SiteId};

use super::depth::is_too_deep;
use super::language::Language;
use super::obligation::Obligation;
use super::reads::{Reads, context_path, only};

/// One policy, checked as far as a policy can be: parsed, valid under the strict schema, naming only what there is,
/// and reading facts only where it asks that they pass.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    text: String,
    /// The policy, every id in it with the organisation's before it.
    pub(super) policy: Policy,
    pub(super) reads: Reads,
    pub(super) obligation: Obligation,
}

/// What policies may name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Known {
    pub(crate) groups: BTreeSet<GroupId>,
    pub(crate) sites: BTreeSet<SiteId>,
    pub(crate) resources: BTreeSet<ResourceId>,
}

impl Rule {
    /// Reads the policy `text`; the error is a sentence for who wrote it.
    pub(crate) fn read(id: &PolicyId, text: &str, language: &Language) -> Result<Self, String> {
        if is_too_deep(text) {
            return Err("it nests too deep: make several policies of it, or compare with a set".into());
        }
        let id = CedarId::new(id.as_str());
        let policy = Policy::parse(Some(id), text).map_err(|error| format!("not a Cedar policy: {error}"))?;
        validate(&policy, language)?;
        let obligation = Obligation::read(&policy)?;
        let json = policy.to_json().map_err(|error| error.to_string())?;
        check_facts(&json, policy.effect())?;
        let names = policy.entity_literals().into_iter().filter(|uid| !is_action(uid));
        let mapping: BTreeMap<EntityUid, EntityUid> =
            names.map(|uid| (uid.clone(), language.uid(uid.type_name(), uid.id().unescaped()))).collect();
        let policy = policy.sub_entity_literals(mapping).map_err(|error| error.to_string())?;
        Ok(Self { text: text.to_owned(), policy, reads: Reads::of(&conditions(&json)), obligation })
    }

    /// The policy as it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The first group, site or resource that the policy names and that is not `known`. A misspelt name in a forbid
    /// would forbid nothing.
    pub(crate) fn stranger(&self, known: &Known, language: &Language) -> Option<String> {
        let named = self.policy.entity_literals();
        let known_of_kind = |uid: &EntityUid| -> Option<bool> {
            let is = |kind: &EntityTypeName| uid.type_name() == kind;
            if is(&language.group) {
                return Some(known.groups.iter().any(|id| language.group(id) == *uid));
            }
            if is(&language.site) {
                return Some(known.sites.iter().any(|id| language.site(id) == *uid));
            }
            is(&language.resource).then(|| known.resources.iter().any(|id| language.resource(id) == *uid))
        };
        let stranger = named.iter().find(|uid| known_of_kind(uid) == Some(false))?;
        let id = stranger.id().unescaped();
        let id = id.strip_prefix(&language.uid_prefix()).unwrap_or(id);
        Some(format!("{}::\"{id}\"", stranger.type_name()))
    }

    /// Whether the policy's scope leaves room for `resource`: if not, it can say nothing about it.
    pub(super) fn can_match(&self, resource: &Resource, language: &Language) -> bool {
        let within = |uid: &EntityUid| {
            *uid == language.resource(&resource.id) || *uid == language.site(&resource.site)
        };
        match self.policy.resource_constraint() {
            ResourceConstraint::Any => true,
            ResourceConstraint::Is(kind) => kind == language.resource,
            ResourceConstraint::Eq(uid) => uid == language.resource(&resource.id),
            ResourceConstraint::In(uid) => within(&uid),
            ResourceConstraint::IsIn(kind, uid) => kind == language.resource && within(&uid),
        }
    }
}

fn is_action(uid: &EntityUid) -> bool {
    uid.type_name().basename() == "Action"
}

fn validate(policy: &Policy, language: &Language) -> Result<(), String> {
    let set = PolicySet::from_policies([policy.clone()]).map_err(|error| error.to_string())?;
    let result = language.validator.validate(&set, ValidationMode::Strict);
    let errors = result.validation_errors().map(ToString::to_string);
    let warnings = result.validation_warnings().map(ToString::to_string);
    match errors.chain(warnings).next() {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

fn conditions(policy: &Value) -> Value {
    policy.get("conditions").cloned().unwrap_or(Value::Null)
}

/// Whether facts are read only where the policy asks that they pass.
///
/// A permit holds only if every fact it reads passes: each is one of the `&&`-joined terms of a `when`. A forbid holds
/// for every state but *pass*: each is one of the `&&`-joined terms of its one `unless` that reads facts. What
/// is neither is refused: its author would have to think of *unknown* and *unsupported*, and people don't.
///
/// This is decided on the form alone, so it is sound for every request there can be; evaluating the policy on samples
/// would not be.
fn check_facts(policy: &Value, effect: Effect) -> Result<(), String> {
    let conditions = conditions(policy);
    let clauses = conditions.as_array().map(Vec::as_slice).unwrap_or_default();
    let asking = match effect {
        Effect::Permit => "when",
        Effect::Forbid => "unless",
    };
    let (mut read, mut asked, mut asking_clauses) = (BTreeSet::new(), BTreeSet::new(), 0);
    for clause in clauses {
        let body = clause.get("body").unwrap_or(&Value::Null);
        let facts = Reads::of(body).facts;
        if !facts.is_empty() && clause.get("kind").and_then(Value::as_str) == Some(asking) {
            asked.extend(passes(body));
            asking_clauses += 1;
        }
        read.extend(facts);
    }
    let several = effect == Effect::Forbid && asking_clauses > 1;
    match read.difference(&asked).next().or_else(|| read.first().filter(|_| several)) {
        Some(fact) => Err(form(effect, *fact)),
        None => Ok(()),
    }
}

/// The facts that `body` asks to pass, whatever else it asks.
fn passes(body: &Value) -> BTreeSet<FactKind> {
    if let Some(("&&", operands)) = only(body) {
        let of = |side| operands.get(side).map(passes).unwrap_or_default();
        return of("left").into_iter().chain(of("right")).collect();
    }
    passed(body).into_iter().collect()
}

/// The fact `F` of `context.device.F.state == "pass"`.
fn passed(term: &Value) -> Option<FactKind> {
    let ("==", operands) = only(term)? else { return None };
    let (left, right) = (operands.get("left")?, operands.get("right")?);
    let is_pass = |side| only(side).is_some_and(|(op, value)| op == "Value" && value == "pass");
    let path =
        if is_pass(right) { context_path(left)? } else { context_path(right).filter(|_| is_pass(left))? };
    match path.as_slice() {
        ["device", fact, "state"] => fact.parse().ok(),
        _ => None,
    }
}

fn form(effect: Effect, fact: FactKind) -> String {
    match effect {
        Effect::Permit => format!(
            "it reads `{fact}` without asking that it passes: write `when {{ context.device.{fact}.state == \
             \"pass\" && … }}`, and a policy of its own for each way in"
        ),
        Effect::Forbid => format!(
            "it must hold unless `{fact}` passes: write `unless {{ context.device.{fact}.state == \"pass\" && … \
             }}`, one `unless` for all facts"
        ),
    }
}
