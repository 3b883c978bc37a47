use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use serde_json::Value;
use ztna_api::admin::{Answer, Group, Invited, Op, PolicyChange, Settings, Site};
use ztna_broker::admin::{Client, LocalAnswer, LocalOp};
use ztna_model::{Address, Cidr, NamePattern, PersonId, Resource, Secret, WallTime};

use super::CallError;
use super::args::{
    Accounts, AdminCommand, Devices, Gateways, Groups, Holds, People, Policies, Resources, Sessions,
    SettingsCommand, Sites,
};
use super::who;

/// What to ask a broker.
pub(super) enum Ask {
    /// Nothing: this is known.
    Nothing(String),
    /// What the organisation's decisions rest on.
    Decision(Op),
    /// What is the broker's own matter.
    Own(LocalOp),
    /// An account, and an invitation for its person.
    Account(LocalOp),
}

impl AdminCommand {
    /// What to ask the broker. Names on the command line are looked up there first.
    pub(super) async fn into_ask(self, broker: &mut Client) -> Result<Ask, CallError> {
        let op = match self {
            Self::Accounts(command) => return command.into_ask(),
            Self::BackUp { file } => return Ok(Ask::Own(LocalOp::BackUp { to: file })),
            Self::Keys => return Ok(Ask::Own(LocalOp::Keys {})),
            Self::Alarms => return Ok(Ask::Own(LocalOp::Alarms {})),
            Self::SetUp { account, token } => set_up(broker, &account, &token).await?,
            Self::Status => Op::Status {},
            Self::People(command) => command.into_op(broker).await?,
            Self::Groups(command) => command.into_op(broker).await?,
            Self::Devices(command) => command.into_op(broker).await?,
            Self::Resources(command) => command.into_op()?,
            Self::Sites(command) => command.into_op(),
            Self::Gateways(command) => command.into_op(),
            Self::Policies(Policies::Schema) => return Ok(Ask::Nothing(ztna_broker::policy_schema())),
            Self::Policies(command) => command.into_op(broker).await?,
            Self::Sessions(Sessions::List) => Op::Sessions {},
            Self::Sessions(Sessions::End { session }) => Op::SessionEnd { sid: session },
            Self::Holds(command) => command.into_op(broker).await?,
            Self::Settings(SettingsCommand::Show) => Op::Settings {},
            Self::Settings(SettingsCommand::Put { file }) => Op::SettingsPut { settings: settings(&file)? },
            Self::Settings(SettingsCommand::Set { key, value }) => {
                let Answer::Settings { settings } = broker.ask(Op::Settings {}).await? else {
                    return Err(CallError::NotFound("the broker shows no settings".into()));
                };
                Op::SettingsPut { settings: with(&settings, &key, &value)? }
            }
        };
        Ok(Ask::Decision(op))
    }
}

async fn set_up(broker: &mut Client, account: &str, token: &str) -> Result<Op, CallError> {
    let LocalAnswer::Accounts { accounts } = broker.ask_local(LocalOp::Accounts {}).await? else {
        return Err(CallError::NotFound("the broker lists no accounts".into()));
    };
    let found = accounts.into_iter().find(|known| known.name == account);
    let found = found.ok_or_else(|| {
        let hint = "add it first: openztna admin accounts add";
        CallError::NotFound(format!("there is no account `{account}`; {hint} {account}"))
    })?;
    let token = Secret::new(token.trim().to_owned());
    Ok(Op::SetUp { token, person: found.person, name: found.display_name })
}

impl Accounts {
    fn into_ask(self) -> Result<Ask, CallError> {
        Ok(match self {
            Self::List => Ask::Own(LocalOp::Accounts {}),
            Self::Add { account, name, email, groups, password_stdin } => Ask::Account(LocalOp::AccountAdd {
                display_name: name.unwrap_or_else(|| account.clone()),
                name: account,
                password: password(password_stdin)?,
                email,
                groups,
            }),
            Self::Password { account, password_stdin } => {
                Ask::Own(LocalOp::AccountPassword { name: account, password: password(password_stdin)? })
            }
            Self::Disable { account } => Ask::Own(LocalOp::AccountDisable { name: account, disabled: true }),
            Self::Enable { account } => Ask::Own(LocalOp::AccountDisable { name: account, disabled: false }),
            Self::Remove { account } => Ask::Own(LocalOp::AccountRemove { name: account }),
        })
    }
}

/// A password from standard input, without the line's end.
fn password(from_stdin: bool) -> Result<Option<Secret<String>>, CallError> {
    if !from_stdin {
        return Ok(None);
    }
    let mut text = String::new();
    let read = std::io::stdin().take(LONGEST_PASSWORD).read_to_string(&mut text);
    read.map_err(|cause| CallError::File { path: "standard input".into(), cause })?;
    let text = text.trim_end_matches(['\r', '\n']).to_owned();
    Ok(Some(Secret::new(text)))
}

impl People {
    async fn into_op(self, broker: &mut Client) -> Result<Op, CallError> {
        Ok(match self {
            Self::List => Op::People {},
            Self::Invite { name, email, issuer, subject, groups } => {
                let who = match (email, issuer, subject) {
                    (Some(email), _, _) => Invited::Email(email),
                    (None, Some(issuer), Some(subject)) => Invited::Person(PersonId { issuer, subject }),
                    (None, _, _) => {
                        return Err(CallError::NotFound("give --email, or --issuer and --subject".into()));
                    }
                };
                Op::PersonInvite { who, name, groups: groups.into_iter().collect() }
            }
            Self::Groups { person, groups } => {
                Op::PersonGroups { person: who::person(broker, &person).await?, groups: set(groups) }
            }
            Self::Roles { person, roles } => {
                Op::PersonRoles { person: who::person(broker, &person).await?, roles: set(roles) }
            }
            Self::Remove { person } => who::removed(broker, &person).await?,
        })
    }
}

impl Groups {
    async fn into_op(self, broker: &mut Client) -> Result<Op, CallError> {
        Ok(match self {
            Self::List => Op::Groups {},
            Self::Put { id, title } => {
                let Answer::Groups { groups } = broker.ask(Op::Groups {}).await? else {
                    return Err(CallError::NotFound("the broker lists no groups".into()));
                };
                // A new title leaves the rest of a group as it is.
                let known = groups.into_iter().find(|group| group.id == id);
                let new = || Group { title: id.to_string(), id: id.clone(), claims: BTreeSet::new() };
                let mut group = known.unwrap_or_else(new);
                group.title = title.unwrap_or(group.title);
                Op::GroupPut { group }
            }
            Self::Remove { id } => Op::GroupRemove { group: id },
        })
    }
}

impl Devices {
    async fn into_op(self, broker: &mut Client) -> Result<Op, CallError> {
        Ok(match self {
            Self::List { person } => Op::Devices { person: maybe(broker, person).await? },
            Self::Admit { device } => Op::DeviceAdmit { device },
            Self::End { device } => Op::DeviceEnd { device },
            Self::Token { person, minutes } => {
                Op::DeviceToken { person: maybe(broker, person).await?, life_s: minutes.saturating_mul(60) }
            }
        })
    }
}

impl Resources {
    fn into_op(self) -> Result<Op, CallError> {
        Ok(match self {
            Self::List => Op::Resources {},
            Self::Put { id, address, site, ports, protocol, target, by_name, title } => {
                let title = title.unwrap_or_else(|| id.to_string());
                let address = read_address(&address)?;
                let resource = Resource { id, title, site, address, protocol, ports, target, by_name };
                Op::ResourcePut { resource }
            }
            Self::Remove { id } => Op::ResourceRemove { resource: id },
        })
    }
}

impl Sites {
    fn into_op(self) -> Op {
        match self {
            Self::List => Op::Sites {},
            Self::Create { id, title } => {
                let title = title.unwrap_or_else(|| id.to_string());
                Op::SitePut { site: Site { id, title } }
            }
            Self::Remove { id } => Op::SiteRemove { site: id },
        }
    }
}

impl Gateways {
    fn into_op(self) -> Op {
        match self {
            Self::List => Op::Gateways {},
            Self::Create { id, site } => Op::GatewayCreate { gateway: id, site },
            Self::Revoke { id } => Op::GatewayRevoke { gateway: id },
        }
    }
}

impl Policies {
    async fn into_op(self, broker: &mut Client) -> Result<Op, CallError> {
        Ok(match self {
            Self::List | Self::Schema => Op::Policies {},
            Self::Put { id, file } => Op::PolicyPut { policy: id, text: read(&file)? },
            Self::Remove { id } => Op::PolicyRemove { policy: id },
            Self::Test { person, resource, device } => {
                Op::PolicyTest { person: who::person(broker, &person).await?, device, resource }
            }
            Self::Preview { id, file } => {
                let change = match file {
                    Some(file) => PolicyChange::Put { policy: id, text: read(&file)? },
                    None => PolicyChange::Remove { policy: id },
                };
                Op::PolicyPreview { change }
            }
        })
    }
}

impl Holds {
    async fn into_op(self, broker: &mut Client) -> Result<Op, CallError> {
        Ok(match self {
            Self::List => Op::Holds {},
            Self::Place { target, reason, minutes } => {
                let target = who::hold_target(broker, &target).await?;
                Op::HoldPlace { target, reason, until: minutes.map(in_minutes) }
            }
            Self::Lift { hold } => Op::HoldLift { hold },
        })
    }
}

async fn maybe(broker: &mut Client, person: Option<String>) -> Result<Option<PersonId>, CallError> {
    match person {
        Some(person) => who::person(broker, &person).await.map(Some),
        None => Ok(None),
    }
}

fn set<T: Ord>(list: Vec<T>) -> BTreeSet<T> {
    list.into_iter().collect()
}

fn in_minutes(minutes: u64) -> WallTime {
    ztna_net::clock::Clock.wall() + ztna_model::minutes(minutes)
}

fn read_address(text: &str) -> Result<Address, CallError> {
    let prefix = text.parse::<Cidr>().map(Address::Prefix);
    let address = prefix.or_else(|_| text.parse::<NamePattern>().map(Address::Name));
    address
        .map_err(|error| CallError::NotFound(format!("{error}; or an address or prefix such as 10.1.0.0/16")))
}

fn read(file: &Path) -> Result<String, CallError> {
    std::fs::read_to_string(file).map_err(|cause| CallError::File { path: file.display().to_string(), cause })
}

fn settings(file: &Path) -> Result<Settings, CallError> {
    let text = read(file)?;
    serde_json::from_str(&text).map_err(|error| CallError::NotFound(format!("{}: {error}", file.display())))
}

/// `settings` with another value for one of them.
fn with(settings: &Settings, key: &str, value: &str) -> Result<Settings, CallError> {
    let wrong = |what: String| CallError::NotFound(format!("{key}: {what}"));
    let mut all = serde_json::to_value(settings).map_err(|error| wrong(error.to_string()))?;
    let known = all.as_object().map(|all| all.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let (head, part) = key.split_once('.').map_or((key, None), |(head, part)| (head, Some(part)));
    let Some(one) = all.get_mut(head) else {
        return Err(wrong(format!("there is no such setting, only {}", known.join(", "))));
    };
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    match (part, one) {
        (None, one) => *one = value,
        (Some(part), Value::Object(parts)) => _ = parts.insert(part.to_owned(), value),
        (Some(_), _) => return Err(wrong(format!("`{head}` has no parts"))),
    }
    serde_json::from_value(all).map_err(|error| wrong(error.to_string()))
}

const LONGEST_PASSWORD: u64 = 4096;
