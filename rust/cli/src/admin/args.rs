use std::path::PathBuf;

use clap::{Args, Subcommand};
use ztna_api::admin::Role;
use ztna_model::{
    DeviceId, GatewayId, GroupId, HoldId, PolicyId, Ports, Protocol, ResourceId, SessionId, SiteId, Target,
};

/// Administer an organisation, on the machine where its broker runs
#[derive(Clone, Debug, Args)]
pub(crate) struct AdminArgs {
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
    #[command(subcommand)]
    pub(crate) command: AdminCommand,
}

/// Which broker is meant.
#[derive(Clone, Debug, Args)]
pub(crate) struct SocketArgs {
    /// The broker's administration socket
    #[arg(
        long = "socket",
        global = true,
        value_name = "PATH",
        env = "OPENZTNA_ADMIN_SOCKET",
        default_value = "/var/lib/openztna/broker/admin.sock"
    )]
    pub(crate) path: PathBuf,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// How things stand
    Status,
    /// Make the first owner, by the token that the broker left in its directory
    SetUp {
        /// The account that becomes owner
        account: String,
        /// The token: what `setup-token` in the broker's directory holds
        #[arg(long, env = "OPENZTNA_SETUP_TOKEN", hide_env_values = true)]
        token: String,
    },
    /// Accounts of the broker's own identity provider
    #[command(subcommand)]
    Accounts(Accounts),
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
    /// Copy the store into a new file; keep it together with a copy of the broker's directory `keys`
    BackUp {
        /// The file: an absolute path to nothing yet
        file: PathBuf,
    },
    /// How the broker's keys and certificate stand
    Keys,
    /// The latest alarms
    Alarms,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Accounts {
    /// List accounts
    List,
    /// Add an account and let its person come in. Without --password-stdin a password is made and shown once
    Add {
        /// What the person types to sign in
        account: String,
        /// What people call them
        #[arg(long)]
        name: Option<String>,
        /// Their e-mail address
        #[arg(long)]
        email: Option<String>,
        /// A group of theirs; may be given several times
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<GroupId>,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Give an account another password
    Password {
        /// The account
        account: String,
        /// Read the password from standard input; without it, one is made and shown once
        #[arg(long)]
        password_stdin: bool,
    },
    /// Refuse an account's sign-ins
    Disable {
        /// The account
        account: String,
    },
    /// Take an account's sign-ins again
    Enable {
        /// The account
        account: String,
    },
    /// Remove an account, and the person with it
    Remove {
        /// The account
        account: String,
    },
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
    /// Remove a person: their sessions and devices end. Or withdraw an invitation
    Remove {
        /// Who: a name, an e-mail address or a subject; of an invitation, its e-mail address
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
        /// What the gateway dials instead: `name[:port]` or `address[:port]`
        #[arg(long)]
        target: Option<Target>,
        /// Addresses by their names alone, such as 10-1-2-3.SITE.SUFFIX: another site may have the same
        #[arg(long)]
        by_name: bool,
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
    /// Show what policies can be about: a Cedar schema
    Schema,
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
    /// Set one setting; the others stay
    Set {
        /// Its name, as `show` prints it; `requirements.tier` for a part of one
        key: String,
        /// What it becomes: JSON, or else text
        value: String,
    },
    /// Set all settings from a file of JSON; what it leaves out gets its default
    Put {
        /// The file
        file: PathBuf,
    },
}

fn role(text: &str) -> Result<Role, String> {
    let role = serde_json::from_value(serde_json::Value::String(text.to_owned()));
    role.map_err(|_| "one of owner, policy, helpdesk, auditor".to_owned())
}
