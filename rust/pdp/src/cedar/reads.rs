use std::collections::BTreeSet;

use serde_json::Value;
use ztna_model::FactKind;

/// Which parts of the context a policy reads.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reads {
    /// Facts.
    pub(crate) facts: BTreeSet<FactKind>,
    /// Ages, which change with every second.
    pub(crate) ages: bool,
    /// The time of day, which changes with every minute.
    pub(crate) time: bool,
}

impl Reads {
    /// What the expression `json` (Cedar's JSON form) reads.
    ///
    /// Every path into the context begins with the variable `context`, and this follows it wherever it stands: a path
    /// that ends early (a comparison of whole records, a `has` on the device) reads all that lies below.
    pub(super) fn of(json: &Value) -> Self {
        let mut reads = Self::default();
        reads.walk(json);
        reads
    }

    pub(super) fn join(&mut self, other: &Self) {
        self.facts.extend(&other.facts);
        self.ages |= other.ages;
        self.time |= other.time;
    }

    fn walk(&mut self, json: &Value) {
        if let Some(path) = context_path(json) {
            return self.note(&path);
        }
        match json {
            Value::Object(fields) => fields.values().for_each(|value| self.walk(value)),
            Value::Array(items) => items.iter().for_each(|value| self.walk(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn note(&mut self, path: &[&str]) {
        match path {
            [] => self.join(&Self { facts: FactKind::ALL.into(), ages: true, time: true }),
            ["device"] => self.join(&Self { facts: FactKind::ALL.into(), ages: true, time: false }),
            ["device", "id"] | ["auth", "acr" | "amr"] | ["net", ..] => {}
            ["device", fact, rest @ ..] => {
                self.facts.extend(fact.parse::<FactKind>().ok());
                self.ages |= matches!(rest, [] | ["age_s", ..]);
            }
            ["auth", ..] => self.ages = true,
            ["time", ..] => self.time = true,
            [_, ..] => {} // no such part: the validator refuses it
        }
    }
}

/// The attributes on the way from `context`, if `json` is such a path.
pub(super) fn context_path(json: &Value) -> Option<Vec<&str>> {
    let (operator, operand) = only(json)?;
    match operator {
        "Var" => (operand.as_str() == Some("context")).then(Vec::new),
        "." => {
            let mut path = context_path(operand.get("left")?)?;
            path.push(operand.get("attr")?.as_str()?);
            Some(path)
        }
        _ => None,
    }
}

/// The one operator of an expression in Cedar's JSON form, and what it works on.
pub(super) fn only(json: &Value) -> Option<(&str, &Value)> {
    let mut fields = json.as_object()?.iter();
    let (operator, operand) = fields.next()?;
    fields.next().is_none().then_some((operator.as_str(), operand))
}
