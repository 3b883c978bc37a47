use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision as CedarDecision, Entities, Entity, EntityUid,
    PolicySet, Request, Response, RestrictedExpression,
};
use ztna_model::{Decision, DenyReason, Fix, PolicyId, Resource, ResourceId};

use super::language::Language;
use super::obligation::Obligation;
use super::reads::Reads;
use super::rule::Rule;
use super::scene::Scene;

/// All rules of the organisation, cut into slices: for each resource, those whose scope leaves room for it.
pub(crate) struct Engine {
    pub(super) language: Arc<Language>,
    rules: BTreeMap<PolicyId, Rule>,
    slices: BTreeMap<ResourceId, Slice>,
    authorizer: Authorizer,
}

/// The rules that can say something about one resource.
pub(super) struct Slice {
    set: PolicySet,
    resource: EntityUid,
    entity: Entity,
    pub(super) reads: Reads,
}

/// What policies say of one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Judged {
    pub(crate) decision: Decision,
    /// The policies that decided.
    pub(crate) policies: BTreeSet<PolicyId>,
    /// How long a lease may live for all they say.
    pub(crate) max_ttl: Option<Duration>,
}

/// What Cedar says.
pub(super) struct Verdict {
    pub(super) allowed: bool,
    pub(super) erred: bool,
    pub(super) policies: BTreeSet<PolicyId>,
}

impl Engine {
    pub(crate) fn new<'a>(
        language: Arc<Language>,
        rules: BTreeMap<PolicyId, Rule>,
        resources: impl IntoIterator<Item = &'a Resource>,
    ) -> Self {
        let slice = |resource: &Resource| (resource.id.clone(), Slice::cut(&rules, resource, &language));
        let slices = resources.into_iter().map(slice).collect();
        Self { language, rules, slices, authorizer: Authorizer::new() }
    }

    pub(crate) const fn language(&self) -> &Arc<Language> {
        &self.language
    }

    pub(crate) const fn rules(&self) -> &BTreeMap<PolicyId, Rule> {
        &self.rules
    }

    /// What any rule on any resource reads.
    pub(crate) fn reads(&self) -> Reads {
        let mut reads = Reads::default();
        self.rules.values().for_each(|rule| reads.join(&rule.reads));
        reads
    }

    /// Facts that some rule on `resource` reads.
    pub(crate) fn reads_of(&self, resource: &ResourceId) -> Reads {
        self.slices.get(resource).map(|slice| slice.reads.clone()).unwrap_or_default()
    }

    /// Whether the person may know of `resource`.
    pub(crate) fn sees(&self, scene: &Scene, resource: &ResourceId) -> bool {
        let Some(slice) = self.slices.get(resource) else { return false };
        let verdict = self.ask(scene, slice, &self.language.see, Some(Context::empty()));
        verdict.allowed && !verdict.erred
    }

    /// Whether they may reach it, and if not, why and what would help.
    pub(crate) fn judge(&self, scene: &Scene, resource: &ResourceId) -> Judged {
        let Some(slice) = self.slices.get(resource) else {
            return Judged::denied(DenyReason::NotFound, Vec::new(), BTreeSet::new());
        };
        let verdict = self.connect(scene, slice);
        if verdict.erred {
            return Judged::denied(DenyReason::PolicyError, vec![Fix::AskAdministrator], verdict.policies);
        }
        if !verdict.allowed {
            return self.explain(scene, slice, verdict.policies);
        }
        self.granted(scene, verdict.policies)
    }

    /// What the permits ask for besides. Each permit is a way in of its own, with its own obligation.
    fn granted(&self, scene: &Scene, policies: BTreeSet<PolicyId>) -> Judged {
        let nothing = Obligation::default();
        let obligation = |id: &PolicyId| self.rules.get(id).map_or(&nothing, |rule| &rule.obligation);
        let met = |id: &&PolicyId| obligation(id).is_met_by(&scene.surroundings.sign);
        let open: BTreeSet<PolicyId> = policies.iter().filter(met).cloned().collect();
        let Some(first) = open.first() else {
            let asked = policies.first().map_or_else(Obligation::default, |id| obligation(id).clone());
            let decision = Decision::StepUp { acr: asked.acr, max_age: asked.max_age };
            return Judged { decision, policies, max_ttl: None };
        };
        let longest = |longest: Option<Duration>, id: &PolicyId| Some(longest?.max(obligation(id).max_ttl?));
        let max_ttl = open.iter().fold(obligation(first).max_ttl, longest);
        Judged { decision: Decision::Granted, policies: open, max_ttl }
    }

    pub(super) fn connect(&self, scene: &Scene, slice: &Slice) -> Verdict {
        self.ask(scene, slice, &self.language.connect, scene.context.clone())
    }

    fn ask(&self, scene: &Scene, slice: &Slice, action: &EntityUid, context: Option<Context>) -> Verdict {
        let request = context.and_then(|context| {
            let (principal, resource) = (scene.principal.clone(), slice.resource.clone());
            Request::new(principal, action.clone(), resource, context, None).ok()
        });
        let entities = Entities::from_entities([scene.person.clone(), slice.entity.clone()], None).ok();
        match request.zip(entities) {
            Some((request, entities)) => {
                Verdict::from(self.authorizer.is_authorized(&request, &slice.set, &entities))
            }
            None => Verdict { allowed: false, erred: true, policies: BTreeSet::new() },
        }
    }
}

impl Slice {
    fn cut(rules: &BTreeMap<PolicyId, Rule>, resource: &Resource, language: &Language) -> Self {
        let mut reads = Reads::default();
        let mut policies = Vec::new();
        for rule in rules.values().filter(|rule| rule.can_match(resource, language)) {
            reads.join(&rule.reads);
            policies.push(rule.policy.clone());
        }
        let uid = language.resource(&resource.id);
        let protocol = RestrictedExpression::new_string(resource.protocol.to_string());
        let attributes = [("protocol".to_owned(), protocol)].into_iter().collect();
        let sites = [language.site(&resource.site)].into_iter().collect();
        let entity = Entity::new(uid.clone(), attributes, sites);
        let entity = entity.unwrap_or_else(|_| Entity::with_uid(uid.clone()));
        // Every id is the key of a map, so no two are alike: the set is always made.
        let set = PolicySet::from_policies(policies).unwrap_or_default();
        Self { set, resource: uid, entity, reads }
    }
}

impl Judged {
    pub(crate) const fn denied(reason: DenyReason, fixes: Vec<Fix>, policies: BTreeSet<PolicyId>) -> Self {
        Self { decision: Decision::Denied { reason, fixes }, policies, max_ttl: None }
    }
}

impl From<Response> for Verdict {
    fn from(response: Response) -> Self {
        let ours = |id: &cedar_policy::PolicyId| AsRef::<str>::as_ref(id).parse().ok();
        let diagnostics = response.diagnostics();
        let failed = diagnostics.errors().filter_map(|error| match error {
            AuthorizationError::PolicyEvaluationError(error) => ours(error.policy_id()),
        });
        let erred = diagnostics.errors().next().is_some();
        let policies = if erred { failed.collect() } else { diagnostics.reason().filter_map(ours).collect() };
        Self { allowed: response.decision() == CedarDecision::Allow, erred, policies }
    }
}

#[cfg(test)]
impl Engine {
    /// What Cedar says when nothing is cut.
    pub(super) fn whole_set_allows(&self, scene: &Scene, resource: &Resource) -> bool {
        let mut slice = Slice::cut(&BTreeMap::new(), resource, &self.language);
        slice.set = PolicySet::from_policies(self.rules.values().map(|rule| rule.policy.clone())).unwrap();
        let verdict = self.connect(scene, &slice);
        verdict.allowed && !verdict.erred
    }
}
