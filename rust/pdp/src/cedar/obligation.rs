use std::time::Duration;

use cedar_policy::{Effect, Policy};
use ztna_model::secs;

use super::scene::Sign;

/// What a permit asks for besides: `@max_ttl("60s")`, `@step_up_acr("mfa")`, `@step_up_max_age("10m")`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Obligation {
    /// How long a lease may live.
    pub(crate) max_ttl: Option<Duration>,
    /// The authentication context class that the session must have (RFC 9470).
    pub(crate) acr: Option<String>,
    /// How long ago the person may have shown who they are.
    pub(crate) max_age: Option<Duration>,
}

impl Obligation {
    /// Whether a sign-in like this is enough.
    pub(crate) fn is_met_by(&self, sign: &Sign) -> bool {
        self.acr.as_ref().is_none_or(|acr| sign.acr.as_ref() == Some(acr))
            && self.max_age.is_none_or(|max_age| sign.age <= max_age)
    }

    /// The obligation that the annotations of `policy` spell. An annotation that nobody knows is an error: it was
    /// meant to do something.
    pub(super) fn read(policy: &Policy) -> Result<Self, String> {
        let mut obligation = Self::default();
        for (name, value) in policy.annotations() {
            match name {
                "id" | "title" | "description" => continue,
                "max_ttl" => obligation.max_ttl = Some(span(name, value)?),
                "step_up_acr" => obligation.acr = Some(value.to_owned()).filter(|acr| !acr.is_empty()),
                "step_up_max_age" => obligation.max_age = Some(span(name, value)?),
                _ => return Err(format!("`@{name}` is not known: {KNOWN}")),
            }
            if policy.effect() == Effect::Forbid {
                return Err(format!("`@{name}` stands on a forbid: only a permit can ask for more"));
            }
        }
        Ok(obligation)
    }
}

fn span(name: &str, text: &str) -> Result<Duration, String> {
    let error = || format!("`@{name}(\"{text}\")` is not a span such as \"90s\", \"10m\" or \"8h\"");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(error)?;
    let number: u32 = number.parse().ok().filter(|number| *number > 0).ok_or_else(error)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(error()),
    };
    Ok(secs(u64::from(number) * unit))
}

const KNOWN: &str = "there are @max_ttl, @step_up_acr, @step_up_max_age, @id, @title and @description";
