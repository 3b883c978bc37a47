use std::collections::BTreeMap;

use ztna_api::admin::{
    AdmittedBy, Answer, DeviceState, Gateway, GatewayState, Hold, HoldTarget, Preview, Reach, ReachState,
    Revoked, Right, Shift, Status, Verdict,
};
use ztna_api::wire;
use ztna_model::{Address, Decision, FactState, Fix, PersonId, WallTime};

use crate::exit::Exit;
use crate::table::Table;

/// What people are called.
type Names = BTreeMap<PersonId, String>;

/// Whether an answer names people by issuer and subject alone.
pub(crate) const fn wants_names(answer: &Answer) -> bool {
    matches!(answer, Answer::Devices { .. } | Answer::Holds { .. } | Answer::Preview(_))
}

/// Prints what the broker answered. A *no* to "may they?" is an exit of its own.
pub(crate) fn answer(answer: &Answer, names: &Names, json: bool) -> Exit {
    if json {
        println!("{}", wire::write(answer));
    } else {
        in_words(answer, names);
    }
    match answer {
        Answer::Tested { verdicts } if !verdicts.iter().any(|verdict| verdict.decision.is_granted()) => {
            Exit::Denied
        }
        Answer::Tested { .. }
        | Answer::Done {}
        | Answer::Revoked(_)
        | Answer::Token { .. }
        | Answer::People { .. }
        | Answer::Groups { .. }
        | Answer::Devices { .. }
        | Answer::Resources { .. }
        | Answer::Sites { .. }
        | Answer::Gateways { .. }
        | Answer::Policies { .. }
        | Answer::Preview(_)
        | Answer::Sessions { .. }
        | Answer::Holds { .. }
        | Answer::Settings { .. }
        | Answer::Status(_) => Exit::Done,
    }
}

fn in_words(answer: &Answer, names: &Names) {
    match answer {
        Answer::Done {} => println!("Done."),
        Answer::Revoked(revoked) => print_revoked(revoked),
        Answer::Token { token, expires } => {
            println!("{}", token.expose());
            eprintln!("Good once, until {}. It is not shown again.", date(*expires));
        }
        Answer::People { people, invitations } => {
            let mut table = Table::new(&["name", "subject", "groups", "roles", "issuer"]);
            for person in people {
                let roles = person.roles.iter().map(|role| format!("{role:?}").to_lowercase());
                table.row([
                    person.name.clone(),
                    person.id.subject.clone(),
                    join(person.groups.iter()),
                    roles.collect::<Vec<_>>().join(","),
                    person.id.issuer.clone(),
                ]);
            }
            for invitation in invitations {
                let invited = format!("invited {}", date(invitation.invited));
                table.row([
                    invitation.name.clone(),
                    invitation.email.clone(),
                    join(invitation.groups.iter()),
                    String::new(),
                    invited,
                ]);
            }
            table.print("There are no people. Invite one: openztna admin people invite …");
        }
        Answer::Groups { groups } => {
            let mut table = Table::new(&["id", "title"]);
            groups.iter().for_each(|group| table.row([group.id.to_string(), group.title.clone()]));
            table.print("There are no groups. Make one: openztna admin groups put …");
        }
        Answer::Devices { devices } => {
            let mut table = Table::new(&["id", "name", "owner", "state", "seen"]);
            for device in devices {
                table.row([
                    device.id.to_string(),
                    device.name.clone(),
                    name(names, &device.owner),
                    device_state(&device.state),
                    date(device.seen),
                ]);
            }
            table.print("There are no devices.");
        }
        Answer::Resources { resources } => {
            let mut table = Table::new(&["id", "address", "protocol", "ports", "site", "target"]);
            for resource in resources {
                let address = match &resource.address {
                    Address::Name(pattern) => pattern.to_string(),
                    Address::Prefix(prefix) => prefix.to_string(),
                };
                table.row([
                    resource.id.to_string(),
                    address,
                    resource.protocol.to_string(),
                    resource.ports.to_string(),
                    resource.site.to_string(),
                    resource.target.as_ref().map(ToString::to_string).unwrap_or_default(),
                ]);
            }
            table.print("There are no resources. Make one: openztna admin resources put …");
        }
        Answer::Sites { sites } => {
            let mut table = Table::new(&["id", "title"]);
            sites.iter().for_each(|site| table.row([site.id.to_string(), site.title.clone()]));
            table.print("There are no sites. Make one: openztna admin sites create …");
        }
        Answer::Gateways { gateways } => print_gateways(gateways),
        Answer::Policies { policies } => {
            for policy in policies {
                println!(
                    "// {} (version {}, {})\n{}\n",
                    policy.id,
                    policy.version,
                    date(policy.changed),
                    policy.text
                );
            }
            if policies.is_empty() {
                println!("There are no policies: nobody may reach anything.");
            }
        }
        Answer::Tested { verdicts } => verdicts.iter().for_each(print_verdict),
        Answer::Preview(preview) => print_preview(preview, names),
        Answer::Sessions { sessions } => {
            let mut table = Table::new(&["id", "name", "device", "state", "leases", "until"]);
            for session in sessions {
                let state = match (session.pending, session.connected) {
                    (true, _) => "waiting",
                    (false, true) => "connected",
                    (false, false) => "away",
                };
                table.row([
                    session.sid.to_string(),
                    session.name.clone(),
                    session.device.to_string(),
                    state.into(),
                    session.leases.to_string(),
                    date(session.expires),
                ]);
            }
            table.print("Nobody is signed in.");
        }
        Answer::Holds { holds } => print_holds(holds, names),
        Answer::Settings { settings } => {
            // Settings are plain data: they always have a JSON form.
            println!("{}", serde_json::to_string_pretty(settings).unwrap_or_default());
        }
        Answer::Status(status) => print_status(status),
    }
}

fn print_revoked(revoked: &Revoked) {
    match (&revoked.hold, revoked.durable) {
        (Some(hold), true) => println!("In force, until `openztna admin holds lift {hold}`."),
        (None, true) => println!("In force."),
        (_, false) => println!("In force, not durable: the store takes no writes. The broker keeps trying."),
    }
    revoked.reach.iter().for_each(|reach| println!("  {}", reach_in_words(reach)));
}

fn print_gateways(gateways: &[Gateway]) {
    let mut table = Table::new(&["id", "site", "state", "leases"]);
    for gateway in gateways {
        let state = match gateway.state {
            GatewayState::Expected => "expected",
            GatewayState::Up => "up",
            GatewayState::Away => "away",
            GatewayState::Revoked => "revoked",
        };
        table.row([
            gateway.id.to_string(),
            gateway.site.to_string(),
            state.into(),
            gateway.leases.to_string(),
        ]);
    }
    table.print("There are no gateways. Make one: openztna admin gateways create …");
}

fn print_verdict(verdict: &Verdict) {
    let device =
        verdict.device.map_or_else(|| "a fit device".to_owned(), |device| format!("device {device}"));
    match &verdict.decision {
        Decision::Granted => println!("Yes, from {device}, by {}.", join(verdict.policies.iter())),
        Decision::Denied { reason, fixes } => {
            println!("No, not from {device}: {reason}.");
            fixes.iter().for_each(|fix| println!("  What would help: {}.", fix_in_words(fix)));
        }
        Decision::StepUp { .. } => println!("From {device}, after a stronger or fresher sign-in."),
        Decision::Pending { .. } => println!("From {device}, once somebody has approved."),
    }
    for (fact, state) in &verdict.facts {
        let why = if *state == FactState::Unknown { ", or told on weaker evidence than counts" } else { "" };
        println!("  {fact} is {state}{why}.");
    }
    if !verdict.visible {
        println!("  The person may not know that it exists.");
    }
}

fn print_preview(preview: &Preview, names: &Names) {
    if preview.gains.is_empty() && preview.losses.is_empty() {
        println!("Nobody gains, nobody loses.");
    }
    preview.gains.iter().for_each(|shift| println!("+ {}", shift_in_words(shift, names)));
    preview.losses.iter().for_each(|shift| println!("- {}", shift_in_words(shift, names)));
}

fn print_holds(holds: &[Hold], names: &Names) {
    let mut table = Table::new(&["id", "target", "reason", "ends"]);
    for hold in holds {
        let target = match &hold.target {
            HoldTarget::Person(person) => format!("person:{}", name(names, person)),
            HoldTarget::Device(device) => format!("device:{device}"),
            HoldTarget::Session(session) => format!("session:{session}"),
            HoldTarget::Resource(resource) => format!("resource:{resource}"),
        };
        let until = hold.until.map_or_else(|| "until lifted".to_owned(), date);
        table.row([hold.id.to_string(), target, hold.reason.clone(), until]);
    }
    table.print("There are no holds.");
}

fn print_status(status: &Status) {
    println!("{}", status.org);
    println!("  sessions  {} ({} connected)", status.sessions, status.connected);
    println!("  leases    {} live, {} renewals", status.leases, status.renewals);
    println!("  store     {}", if status.store { "takes writes" } else { "TAKES NO WRITES: no new grants" });
    for outstanding in &status.outstanding {
        let reach = outstanding.reach.iter().map(reach_in_words).collect::<Vec<_>>().join("; ");
        println!("  revoked   session {}: {reach}", outstanding.sid);
    }
    status.warnings.iter().for_each(|warning| println!("  warning   {warning}"));
    print_gateways(&status.gateways);
}

fn reach_in_words(reach: &Reach) -> String {
    match reach.state {
        ReachState::InForce { after_ms } => {
            format!("gateway {}: in force after {after_ms} ms", reach.gateway)
        }
        ReachState::Silent { ends_by } => {
            format!("gateway {} silent; ends by {}", reach.gateway, date(ends_by))
        }
    }
}

fn shift_in_words(shift: &Shift, names: &Names) -> String {
    let right = match shift.right {
        Right::Connect => "can reach",
        Right::See => "can see",
    };
    let sessions = match shift.sessions.len() {
        0 => "with a fit device".to_owned(),
        1 => "in 1 session".to_owned(),
        number => format!("in {number} sessions"),
    };
    format!("{} {right} {} ({sessions})", name(names, &shift.person), shift.resource)
}

/// What a person is called, or the subject of one who has gone.
fn name(names: &Names, person: &PersonId) -> String {
    names.get(person).unwrap_or(&person.subject).clone()
}

fn device_state(state: &DeviceState) -> String {
    match state {
        DeviceState::Waiting { code } => format!("waits, shows {code}"),
        DeviceState::Admitted { by, .. } => {
            let by = match by {
                AdmittedBy::First => "as a first device",
                AdmittedBy::Administrator => "by an administrator",
                AdmittedBy::Owner => "by its owner",
                AdmittedBy::Token => "by a token",
            };
            format!("admitted {by}")
        }
        DeviceState::Ended { since } => format!("ended {}", date(*since)),
    }
}

fn fix_in_words(fix: &Fix) -> String {
    match fix {
        Fix::Device { fact } => format!("bring `{fact}` in order on the device"),
        Fix::SignIn => "sign in again".into(),
        Fix::AwaitAdmission => "wait until the device is admitted".into(),
        Fix::AskAdministrator => "ask an administrator".into(),
        Fix::Retry => "try again in a while".into(),
    }
}

fn join<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

pub(super) fn date(time: WallTime) -> String {
    let second = time.as_secs() % 86_400;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{} {hour:02}:{minute:02}:{second:02} UTC", ztna_model::Date::of(time))
}
