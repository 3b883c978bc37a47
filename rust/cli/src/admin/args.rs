use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ztna_api::admin::{Group, Invited, Op, PolicyChange, Role, Settings, Site};
use ztna_model::{
    Address, Cidr, DeviceId, GatewayId, GroupId, HoldId, NamePattern, PersonId, PolicyId, Ports, Protocol,
    Resource, ResourceId, SessionId, SiteId, Target, WallTime,
};

use super::call::{Broker, CallError};
use super::who;

/// Administer an organisation, on the machine where its broker runs
#[derive(Clone, Debug, Args)]
pub(crate) struct AdminArgs {
    /// The broker's administration socket
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "OPENZTNA_ADMIN_SOCKET",
        default_value = "/var/lib/openztna/broker/admin.sock"
    )]
    pub(crate) socket: PathBuf,
    #[command(subcommand)]
    pub(crate) command: AdminCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// How things stand
    Status,
    /// People: who may come in, and their groups
    #[command(subcommand)]
    People(People),
    /// Groups of people
    #[command(subcommand)]
    Groups(Groups),
    /// Devices: admit and end them
    #[command(subcommand)]
    Devices(Devices),
    /// Resources: the applications that may be reached
    #[command(subcommand)]
    Resources(Resources),
    /// Sites: where resources live
    #[command(subcommand)]
    Sites(Sites),
    /// Gateways: how sites are reached
    #[command(subcommand)]
    Gateways(Gateways),
    /// Policies: who may reach what
    #[command(subcommand)]
    Policies(Policies),
    /// Sessions: who is signed in
    #[command(subcommand)]
    Sessions(Sessions),
    /// Holds: what is denied until further notice
    #[command(subcommand)]
    Holds(Holds),
    /// The organisation's settings
    #[command(subcommand)]
    Settings(SettingsCommand),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum People {
    /// List people and invitations
    List,
    /// Let a person come in: by issuer and subject, or by a verified e-mail address
    Invite {
        /// What people call them
        name: String,
        /// The e-mail address they will sign in with
        #[arg(long, conflicts_with_all = ["issuer", "subject"])]
        email: Option<String>,
        /// The issuer that knows them
        #[arg(long, requires = "subject")]
        issuer: Option<String>,
        /// The issuer's name for them
        #[arg(long, requires = "issuer")]
        subject: Option<String>,
        /// A group of theirs; may be given several times
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<GroupId>,
    },
    /// Set all groups of a person
    Groups {
        /// Who: a name, an e-mail address or a subject
        person: String,
        /// All their groups
        groups: Vec<GroupId>,
    },
    /// Set what a person may administer
    Roles {
        /// Who: a name, an e-mail address or a subject
        person: String,
        /// owner, policy, helpdesk, auditor
        #[arg(value_parser = role)]
        roles: Vec<Role>,
    },
    /// Remove a person: their sessions and devices end
    Remove {
        /// Who: a name, an e-mail address or a subject
        person: String,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Groups {
    /// List groups
    List,
    /// Make or rename a group
    Put {
        /// Its id
        id: GroupId,
        /// What people call it
        #[arg(long)]
        title: Option<String>,
    },
    /// Remove a group
    Remove {
        /// Its id
        id: GroupId,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Devices {
    /// List devices
    List {
        /// Those of one person alone
        #[arg(long)]
        person: Option<String>,
    },
    /// Admit a device that waits
    Admit {
        /// Its id
        device: DeviceId,
    },
    /// End a device for good
    End {
        /// Its id
        device: DeviceId,
    },
    /// Make a single-use token that admits one device
    Token {
        /// The only person who may use it
        #[arg(long)]
        person: Option<String>,
        /// For how many minutes
        #[arg(long, default_value_t = 60)]
        minutes: u64,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Resources {
    /// List resources
    List,
    /// Make or change a resource
    Put {
        /// Its id
        id: ResourceId,
        /// How people address it: a name, `*.name`, an address or a prefix
        address: String,
        /// Where it lives
        #[arg(long)]
        site: SiteId,
        /// Its ports: 443, 80,443, 8000-8010 or *
        #[arg(long)]
        ports: Ports,
        /// tcp, udp or icmp-echo
        #[arg(long, default_value = "tcp")]
        protocol: Protocol,
        /// What the gateway dials instead: name[:port] or address[:port]
        #[arg(long)]
        target: Option<Target>,
        /// What people call it
        #[arg(long)]
        title: Option<String>,
    },
    /// Remove a resource
    Remove {
        /// Its id
        id: ResourceId,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Sites {
    /// List sites
    List,
    /// Make or rename a site
    Create {
        /// Its id
        id: SiteId,
        /// What people call it
        #[arg(long)]
        title: Option<String>,
    },
    /// Remove a site that nothing uses
    Remove {
        /// Its id
        id: SiteId,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Gateways {
    /// List gateways
    List,
    /// Make a gateway and the single-use token by which it enrols
    Create {
        /// Its id
        id: GatewayId,
        /// Where it stands
        #[arg(long)]
        site: SiteId,
    },
    /// Take a gateway's right to be one, for good
    Revoke {
        /// Its id
        id: GatewayId,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Policies {
    /// List policies
    List,
    /// Make or change a policy
    Put {
        /// Its id
        id: PolicyId,
        /// A file with one Cedar policy
        file: PathBuf,
    },
    /// Remove a policy
    Remove {
        /// Its id
        id: PolicyId,
    },
    /// May this person reach this resource now, and why?
    Test {
        /// Who: a name, an e-mail address or a subject
        person: String,
        /// To which resource
        resource: ResourceId,
        /// From this device alone
        #[arg(long)]
        device: Option<DeviceId>,
    },
    /// Who would gain and who would lose, if a policy were changed to this file, or removed
    Preview {
        /// The policy
        id: PolicyId,
        /// A file with one Cedar policy; without it, the policy's removal is looked at
        file: Option<PathBuf>,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Sessions {
    /// List sessions
    List,
    /// End a session now
    End {
        /// Its id
        session: SessionId,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Holds {
    /// List holds, and how far each has reached
    List,
    /// Deny something until further notice
    Place {
        /// person:NAME, device:ID, session:ID or resource:ID
        target: String,
        /// Why, for people
        #[arg(long)]
        reason: String,
        /// When it ends by itself, in minutes from now by the broker's clock
        #[arg(long)]
        minutes: Option<u64>,
    },
    /// End a hold
    Lift {
        /// Its id
        hold: HoldId,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SettingsCommand {
    /// Show the settings
    Show,
    /// Set all settings from a file of JSON; what it leaves out gets its default
    Put {
        /// The file
        file: PathBuf,
    },
}

impl AdminCommand {
    /// What to ask the broker. Names on the command line are looked up there first.
    pub(crate) async fn into_op(self, broker: &mut Broker) -> Result<Op, CallError> {
        match self {
            Self::Status => Ok(Op::Status {}),
            Self::People(command) => command.into_op(broker).await,
            Self::Groups(command) => Ok(command.into_op()),
            Self::Devices(command) => command.into_op(broker).await,
            Self::Resources(command) => command.into_op(),
            Self::Sites(command) => Ok(command.into_op()),
            Self::Gateways(command) => Ok(command.into_op()),
            Self::Policies(command) => command.into_op(broker).await,
            Self::Sessions(Sessions::List) => Ok(Op::Sessions {}),
            Self::Sessions(Sessions::End { session }) => Ok(Op::SessionEnd { sid: session }),
            Self::Holds(command) => command.into_op(broker).await,
            Self::Settings(SettingsCommand::Show) => Ok(Op::Settings {}),
            Self::Settings(SettingsCommand::Put { file }) => {
                settings(&file).map(|settings| Op::SettingsPut { settings })
            }
        }
    }
}

impl People {
    async fn into_op(self, broker: &mut Broker) -> Result<Op, CallError> {
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
            Self::Remove { person } => Op::PersonRemove { person: who::person(broker, &person).await? },
        })
    }
}

impl Groups {
    fn into_op(self) -> Op {
        match self {
            Self::List => Op::Groups {},
            Self::Put { id, title } => {
                let title = title.unwrap_or_else(|| id.to_string());
                Op::GroupPut { group: Group { id, title, claims: BTreeSet::new() } }
            }
            Self::Remove { id } => Op::GroupRemove { group: id },
        }
    }
}

impl Devices {
    async fn into_op(self, broker: &mut Broker) -> Result<Op, CallError> {
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
            Self::Put { id, address, site, ports, protocol, target, title } => {
                let title = title.unwrap_or_else(|| id.to_string());
                let address = read_address(&address)?;
                Op::ResourcePut { resource: Resource { id, title, site, address, protocol, ports, target } }
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
    async fn into_op(self, broker: &mut Broker) -> Result<Op, CallError> {
        Ok(match self {
            Self::List => Op::Policies {},
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
    async fn into_op(self, broker: &mut Broker) -> Result<Op, CallError> {
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

async fn maybe(broker: &mut Broker, person: Option<String>) -> Result<Option<PersonId>, CallError> {
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

fn read(file: &PathBuf) -> Result<String, CallError> {
    std::fs::read_to_string(file).map_err(|cause| CallError::File { path: file.display().to_string(), cause })
}

fn settings(file: &PathBuf) -> Result<Settings, CallError> {
    let text = read(file)?;
    serde_json::from_str(&text).map_err(|error| CallError::NotFound(format!("{}: {error}", file.display())))
}

fn role(text: &str) -> Result<Role, String> {
    let role = serde_json::from_value(serde_json::Value::String(text.to_owned()));
    role.map_err(|_| "one of owner, policy, helpdesk, auditor".to_owned())
}
