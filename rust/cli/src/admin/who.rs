use std::collections::BTreeMap;

use ztna_api::admin::{Answer, HoldTarget, Op, Person};
use ztna_broker::admin::Client;
use ztna_model::{DeviceId, PersonId, ResourceId, SessionId};

use super::CallError;

/// The person that somebody means by a name, an e-mail address or a subject: exactly one, or an error that lists.
pub(crate) async fn person(broker: &mut Client, meant: &str) -> Result<PersonId, CallError> {
    let Answer::People { people, .. } = broker.ask(Op::People {}).await? else {
        return Err(CallError::NotFound("the broker lists no people".into()));
    };
    one(people, meant)
}

/// What removes the person that somebody means, or the invitation to an e-mail address.
pub(crate) async fn removed(broker: &mut Client, meant: &str) -> Result<Op, CallError> {
    let Answer::People { people, invitations } = broker.ask(Op::People {}).await? else {
        return Err(CallError::NotFound("the broker lists no people".into()));
    };
    let invited = invitations.into_iter().find(|invitation| invitation.email.eq_ignore_ascii_case(meant));
    match (one(people, meant), invited) {
        (Err(_), Some(invitation)) => Ok(Op::InvitationRemove { email: invitation.email }),
        (found, _) => Ok(Op::PersonRemove { person: found? }),
    }
}

/// What people are called, for answers that name them by issuer and subject alone.
pub(crate) async fn names(broker: &mut Client) -> Result<BTreeMap<PersonId, String>, CallError> {
    let Answer::People { people, .. } = broker.ask(Op::People {}).await? else { return Ok(BTreeMap::new()) };
    Ok(people.into_iter().map(|person| (person.id, person.name)).collect())
}

fn one(people: Vec<Person>, meant: &str) -> Result<PersonId, CallError> {
    let is_meant = |person: &Person| {
        person.name.eq_ignore_ascii_case(meant)
            || person.id.subject == meant
            || person.pseudonym.to_string() == meant
            || person.email.as_deref().is_some_and(|email| email.eq_ignore_ascii_case(meant))
    };
    let mut found: Vec<Person> = people.into_iter().filter(is_meant).collect();
    match (found.pop(), found.is_empty()) {
        (Some(person), true) => Ok(person.id),
        (Some(last), false) => {
            found.push(last);
            let names = found.iter().map(|person| format!("{} ({})", person.name, person.id.subject));
            let names = names.collect::<Vec<_>>().join(", ");
            Err(CallError::NotFound(format!("`{meant}` may be any of {names}: give the subject")))
        }
        (None, _) => Err(CallError::NotFound(format!(
            "there is no person `{meant}`; see `openztna admin people list`"
        ))),
    }
}

/// What a hold is to deny: `person:ana`, `device:ID`, `session:ID` or `resource:wiki`.
pub(crate) async fn hold_target(broker: &mut Client, text: &str) -> Result<HoldTarget, CallError> {
    let wrong =
        || CallError::NotFound(format!("`{text}` is not person:NAME, device:ID, session:ID or resource:ID"));
    let (kind, meant) = text.split_once(':').ok_or_else(wrong)?;
    match kind {
        "person" => person(broker, meant).await.map(HoldTarget::Person),
        "device" => meant.parse::<DeviceId>().map(HoldTarget::Device).map_err(|_| wrong()),
        "session" => meant.parse::<SessionId>().map(HoldTarget::Session).map_err(|_| wrong()),
        "resource" => meant.parse::<ResourceId>().map(HoldTarget::Resource).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}
