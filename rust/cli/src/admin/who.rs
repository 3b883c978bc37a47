use std::collections::BTreeMap;

use ztna_api::admin::{Answer, HoldTarget, Invitation, Op, Person};
use ztna_broker::admin::{Client, LocalAnswer, LocalOp};
use ztna_model::{DeviceId, PersonId, ResourceId, SessionId};

use super::CallError;
use crate::plain::plain;

/// The person that somebody means by a name, an e-mail address, a subject or an account: exactly one, or an error that
/// lists.
pub(crate) async fn person(broker: &mut Client, meant: &str) -> Result<PersonId, CallError> {
    let Answer::People { people, invitations } = broker.ask(Op::People {}).await? else {
        return Err(CallError::NotFound("the broker lists no people".into()));
    };
    let found = one(&people, &invitations, meant);
    match (found, account(broker, meant).await) {
        (Err(_), Some(person)) if people.iter().any(|known| known.id == person) => Ok(person),
        (found, _) => found,
    }
}

/// The person of the broker's own account of this name.
async fn account(broker: &mut Client, name: &str) -> Option<PersonId> {
    let Ok(LocalAnswer::Accounts { accounts }) = broker.ask_local(LocalOp::Accounts {}).await else {
        return None; // with an external provider there are none
    };
    accounts.into_iter().find(|account| account.name == name).map(|account| account.person)
}

/// What removes the person that somebody means, or the invitation to an e-mail address.
pub(crate) async fn removed(broker: &mut Client, meant: &str) -> Result<Op, CallError> {
    let Answer::People { people, invitations } = broker.ask(Op::People {}).await? else {
        return Err(CallError::NotFound("the broker lists no people".into()));
    };
    let found = one(&people, &invitations, meant);
    let invited = invitations.into_iter().find(|invitation| invitation.email.eq_ignore_ascii_case(meant));
    match (found, invited) {
        (Err(_), Some(invitation)) => Ok(Op::InvitationRemove { email: invitation.email }),
        (found, _) => Ok(Op::PersonRemove { person: found? }),
    }
}

/// What people are called, for answers that name them by issuer and subject alone.
pub(crate) async fn names(broker: &mut Client) -> Result<BTreeMap<PersonId, String>, CallError> {
    let Answer::People { people, .. } = broker.ask(Op::People {}).await? else { return Ok(BTreeMap::new()) };
    Ok(people.into_iter().map(|person| (person.id, person.name)).collect())
}

/// A subject or pseudonym counts before an address, and an address before a name: people may choose their names.
fn one(people: &[Person], invitations: &[Invitation], meant: &str) -> Result<PersonId, CallError> {
    let is_id = |person: &&Person| person.id.subject == meant || person.pseudonym.to_string() == meant;
    let is_email =
        |person: &&Person| person.email.as_deref().is_some_and(|email| email.eq_ignore_ascii_case(meant));
    let is_invited = invitations.iter().any(|invitation| invitation.email.eq_ignore_ascii_case(meant));
    let is_name = |person: &&Person| person.name.eq_ignore_ascii_case(meant) && !is_invited;
    let mut found: Vec<&Person> = people.iter().filter(is_id).collect();
    if found.is_empty() {
        found = people.iter().filter(is_email).collect();
    }
    if found.is_empty() {
        found = people.iter().filter(is_name).collect();
    }
    match found.as_slice() {
        [person] => Ok(person.id.clone()),
        [] => Err(CallError::NotFound(format!(
            "there is no person `{meant}`; see `openztna admin people list`"
        ))),
        several => {
            let names =
                several.iter().map(|person| format!("{} ({})", plain(&person.name), person.id.subject));
            let names = names.collect::<Vec<_>>().join(", ");
            Err(CallError::NotFound(format!("`{meant}` may be any of {names}: give the subject")))
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b03_nobody_is_meant_by_a_name_that_is_somebody_else_s_address_or_subject() {
        let person = |subject: &str, name: &str, email: Option<&str>| {
            let id = serde_json::json!({"issuer": "https://idp.example", "subject": subject});
            let pseudonym = format!("{:032x}", subject.len());
            let person = serde_json::json!({
                "id": id, "name": name, "email": email, "pseudonym": pseudonym, "groups": [], "roles": [],
            });
            serde_json::from_value::<Person>(person).unwrap()
        };
        let people = vec![
            person("s1", "Ana", Some("ana@acme.example")),
            person("s-two", "s1", None),
            person("s-three", "ANA@acme.example", None),
            person("s-fourth", "bo@acme.example", None),
            person("s-fifths", "Cy", None),
            person("s-sixthly", "cy", None),
            person("s-seventh", "di@acme.example", None),
        ];
        let invitation =
            serde_json::json!({"email": "bo@acme.example", "name": "Bo", "groups": [], "invited": 0});
        let invitations = vec![serde_json::from_value::<Invitation>(invitation).unwrap()];
        let rows = [
            ("ana", Some("s1")),
            ("s1", Some("s1")),
            ("Ana@acme.example", Some("s1")),
            ("bo@acme.example", None),
            ("di@acme.example", Some("s-seventh")),
            ("s-fourth", Some("s-fourth")),
            ("Cy", None),
            ("nobody", None),
        ];
        for (meant, expected) in rows {
            let found = one(&people, &invitations, meant).ok().map(|person| person.subject);
            assert_eq!(found.as_deref(), expected, "{meant}");
        }
    }
}
