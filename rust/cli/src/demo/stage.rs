//! The stage: a directory, and the product's own processes in it, each with its own configuration.
//!
//! ```text
//!   DIR/broker.toml    DIR/broker/       openztna broker
//!   DIR/gateway.toml   DIR/gateway/      openztna gateway
//!   DIR/ana.toml       DIR/ana/          openztna connect …
//!                      DIR/facts.toml    what is made up about Ana's device
//!                                        openztna demo-app wiki, payroll, ledger
//! ```

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ztna_api::admin::{Answer, Group, Invited, Op, Settings, Site};
use ztna_broker::admin::{Client, LocalAnswer, LocalOp};
use ztna_connector::status::{Question, Status, ask};
use ztna_model::{GatewayId, OrgString, PersonId, Random as _, Resource, Secret, base64url, secs};
use ztna_net::clock::Clock;
use ztna_net::random::SystemRandom;

use super::application::Application;
use super::browser::Browser;
use super::process::Process;
use super::trouble::{Trouble, While as _};

/// Everything that runs.
pub(crate) struct Stage {
    pub(crate) dir: PathBuf,
    pub(crate) org: OrgString,
    pub(crate) broker: Process,
    pub(crate) gateway: Process,
    /// The applications by name.
    pub(crate) wiki: Process,
    _others: Vec<Process>,
    pub(crate) ana: PersonId,
    pub(crate) password: Secret<String>,
}

/// A connector that runs, and what its person's applications use.
pub(crate) struct Connected {
    pub(crate) process: Process,
    pub(crate) application: Application,
    /// From the start of the connector to the session's first token.
    pub(crate) sign_in: Duration,
    /// From the browser's answer to a tunnel that is on.
    pub(crate) connect: Duration,
}

impl Stage {
    /// Starts broker, applications and gateway in `dir`, and sets the organisation up as its administrator would.
    pub(crate) async fn set(dir: PathBuf) -> Result<Self, Trouble> {
        let (public, gateways) = (free_port()?, free_port()?);
        write(&dir.join("broker.toml"), &broker_config(&dir, public, gateways))?;
        let (broker, org) = start_broker(&dir).await?;
        let (wiki, wiki_at) = start_application(&dir, "wiki").await?;
        let (payroll, payroll_at) = start_application(&dir, "payroll").await?;
        let (ledger, ledger_at) = start_application(&dir, "ledger").await?;
        let applications = [("wiki", wiki_at), ("payroll", payroll_at), ("ledger", ledger_at)];
        let mut admin = admin(&dir).await?;
        let (ana, password) = furnish(&mut admin, &applications).await?;
        write(&dir.join("gateway.toml"), &gateway_config(&dir, &applications.map(|(_, at)| at)))?;
        let token = new_gateway(&mut admin, "berlin-1", "berlin").await?;
        let gateway = start_gateway(&dir, "gateway", &token).await?;
        let _others = vec![payroll, ledger];
        let stage = Self { dir, org, broker, gateway, wiki, _others, ana, password };
        stage.simulate(&[("disk_encrypted", true), ("screen_lock", false)])?;
        write(&stage.dir.join("ana.toml"), &stage.connector_config("ana", "Ana's laptop"))?;
        Ok(stage)
    }

    /// The administrators' way in.
    pub(crate) async fn admin(&self) -> Result<Client, Trouble> {
        admin(&self.dir).await
    }

    /// Asks the broker as an administrator.
    pub(crate) async fn ask(&self, op: Op) -> Result<Answer, Trouble> {
        self.admin().await?.ask(op).await.while_doing("asking the broker")
    }

    /// Starts the broker again, where it was.
    pub(crate) async fn restart_broker(&mut self) -> Result<(), Trouble> {
        (self.broker, self.org) = start_broker(&self.dir).await?;
        Ok(())
    }

    /// Makes up facts about Ana's device. They are marked as made up wherever they go.
    pub(crate) fn simulate(&self, facts: &[(&str, bool)]) -> Result<(), Trouble> {
        let text: String = facts.iter().map(|(fact, value)| format!("{fact} = {value}\n")).collect();
        write(&self.dir.join("facts.toml"), &text)
    }

    /// The connector's configuration for a device that keeps its things in `DIR/name`.
    pub(crate) fn connector_config(&self, name: &str, device: &str) -> String {
        let (state, facts) = (quoted(&self.dir.join(name)), quoted(&self.dir.join("facts.toml")));
        format!(
            "state_dir = {state}\ndevice_name = {device:?}\n\n[proxy]\nlisten = \"127.0.0.1:0\"\n\n\
             [udp]\nbind = \"loopback\"\n\n[signals]\nsimulated = {facts}\n"
        )
    }

    /// Signs Ana in on the device `name` and connects it.
    pub(crate) async fn connect(&self, name: &str, sign_in: SignIn<'_>) -> Result<Connected, Trouble> {
        let began = Clock.now();
        let org = self.org.to_string();
        let config = self.path(&format!("{name}.toml"));
        let mut process = Process::start(
            name,
            &self.dir,
            &["connect", &org, "--config", &config, "--no-browser", "--proxy"],
        )
        .await?;
        let (_, address) = process
            .says(secs(10), |line| {
                Some(line.trim()).filter(|line| line.starts_with("https://")).map(str::to_owned)
            })
            .await?;
        match sign_in {
            SignIn::Agent => Browser::of(&self.org)?.sign_in(&address, "ana", &self.password).await?,
            SignIn::Person(open) => open(&address),
        }
        let patience = match sign_in {
            SignIn::Agent => secs(10),
            SignIn::Person(_) => secs(600),
        };
        // The line about the proxy comes once there is a session, the other once the tunnel is on.
        let (signed_in, ()) = process.says(patience, |line| line.contains("by SOCKS5").then_some(())).await?;
        let (connected, ()) =
            process.says(secs(10), |line| line.starts_with("Connected to").then_some(())).await?;
        let status = self.status(name).await?;
        Ok(Connected {
            process,
            application: Application::through(&status.proxy),
            sign_in: signed_in.since(began),
            connect: connected.since(signed_in),
        })
    }

    /// How the connector `name` stands.
    pub(crate) async fn status(&self, name: &str) -> Result<Status, Trouble> {
        self.question(name, Question::Status).await
    }

    /// Has the connector `name` look at its device again.
    pub(crate) async fn look_again(&self, name: &str) -> Result<Status, Trouble> {
        self.question(name, Question::ReadSignals).await
    }

    async fn question(&self, name: &str, question: Question) -> Result<Status, Trouble> {
        let socket = self.dir.join(name).join("connector.sock");
        ask(&socket, question).await.while_doing(&format!("asking the connector of {name}"))
    }

    /// Copies all files of a device's directory, as a thief would who has the disk.
    pub(crate) fn copy_disk(&self, from: &str, to: &str) -> Result<(), Trouble> {
        let (from, to) = (self.dir.join(from), self.dir.join(to));
        let doing = "copying a disk";
        let _ = fs::remove_dir_all(&to); // it may not be there
        ztna_net::fs::create_private_dir(&to).while_doing(doing)?;
        for entry in fs::read_dir(from).while_doing(doing)? {
            let entry = entry.while_doing(doing)?;
            let is_lock = entry.path().extension().is_some_and(|extension| extension == "lock");
            if entry.file_type().while_doing(doing)?.is_file() && !is_lock {
                fs::copy(entry.path(), to.join(entry.file_name())).while_doing(doing)?;
            }
        }
        Ok(())
    }

    /// A path in the stage's directory, as text.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// How the gateway stands.
    pub(crate) async fn gateway_status(&self) -> Result<ztna_gateway::status::Status, Trouble> {
        let status = ztna_gateway::status::status(&self.dir.join("gateway")).await;
        status.while_doing("asking the gateway")
    }

    /// Ends everything, applications last.
    pub(crate) async fn strike(mut self) {
        self.gateway.stop().await;
        self.broker.stop().await;
        self.wiki.stop().await;
        for other in &mut self._others {
            other.stop().await;
        }
    }
}

/// Who goes to the sign-in page.
#[derive(Clone, Copy)]
pub(crate) enum SignIn<'a> {
    /// The demonstration's own user agent.
    Agent,
    /// A person, whose browser is opened by this.
    Person(&'a (dyn Fn(&str) + Send + Sync)),
}

async fn start_broker(dir: &Path) -> Result<(Process, OrgString), Trouble> {
    let config = dir.join("broker.toml").display().to_string();
    let mut broker = Process::start("broker", dir, &["broker", "--config", &config]).await?;
    let (_, org) = broker.says(secs(10), |line| line.trim().parse::<OrgString>().ok()).await?;
    let (_, ()) = broker.says(secs(10), |line| line.contains("admin --socket").then_some(())).await?;
    Ok((broker, org))
}

async fn start_application(dir: &Path, name: &str) -> Result<(Process, SocketAddr), Trouble> {
    let mut process = Process::start(name, dir, &["demo-app", name, "127.0.0.1:0"]).await?;
    let (_, at) = process.says(secs(10), |line| line.strip_prefix("listening ")?.parse().ok()).await?;
    Ok((process, at))
}

/// Makes a gateway of what `DIR/name.toml` describes, and starts it.
async fn start_gateway(dir: &Path, name: &str, token: &Secret<String>) -> Result<Process, Trouble> {
    enrol_gateway(dir, name, token).await?;
    let config = dir.join(format!("{name}.toml")).display().to_string();
    let mut gateway = Process::start(name, dir, &["--log", "info", "gateway", "--config", &config]).await?;
    gateway.says(secs(10), |line| line.contains("the stream to the broker is open").then_some(())).await?;
    Ok(gateway)
}

/// Makes a gateway of what `DIR/name.toml` describes.
pub(crate) async fn enrol_gateway(dir: &Path, name: &str, token: &Secret<String>) -> Result<(), Trouble> {
    let config = dir.join(format!("{name}.toml")).display().to_string();
    // A token on the command line would show in the list of processes.
    let token = [("OPENZTNA_ENROLMENT_TOKEN", token.expose().as_str())];
    let mut enrol =
        Process::start_with(name, dir, &["gateway", "--config", &config, "enrol"], &token).await?;
    if enrol.ended(secs(10)).await?.success() {
        Ok(())
    } else {
        Err(Trouble::new("enrolling a gateway", format!("see {name}.log")))
    }
}

async fn admin(dir: &Path) -> Result<Client, Trouble> {
    Client::connect(&dir.join("broker/admin.sock"))
        .await
        .while_doing("connecting to the administrators' socket")
}

/// People, places, applications and policies of a small organisation.
async fn furnish(
    admin: &mut Client,
    applications: &[(&str, SocketAddr)],
) -> Result<(PersonId, Secret<String>), Trouble> {
    let doing = "setting the organisation up";
    let settings = serde_json::json!({
        "title": "Demo", "lease_ttl_s": LEASE_S, "asks_per_second": 100_000,
        "requirements": { "tier": 0, "simulated": true },
    });
    let settings: Settings = serde_json::from_value(settings).while_doing(doing)?;
    let staff: ztna_model::GroupId = "staff".parse().while_doing(doing)?;
    let site = Site { id: "berlin".parse().while_doing(doing)?, title: "Berlin".into() };
    let group = Group { id: staff.clone(), title: "Staff".into(), claims: Default::default() };
    for op in [Op::SettingsPut { settings }, Op::GroupPut { group }, Op::SitePut { site }] {
        admin.ask(op).await.while_doing(doing)?;
    }
    let password: [u8; 12] = SystemRandom::new().array();
    let password = Secret::new(base64url::encode(password));
    let account = LocalOp::AccountAdd {
        name: "ana".into(),
        password: Some(password.clone()),
        display_name: "Ana".into(),
        email: None,
        groups: vec![],
    };
    let LocalAnswer::Account { account, .. } = admin.ask_local(account).await.while_doing(doing)? else {
        return Err(Trouble::new(doing, "the broker made no account"));
    };
    let who = Invited::Person(account.person.clone());
    let invite = Op::PersonInvite { who, name: "Ana".into(), groups: [staff].into() };
    admin.ask(invite).await.while_doing(doing)?;
    for (name, at) in applications {
        admin.ask(Op::ResourcePut { resource: resource(name, *at, "berlin")? }).await.while_doing(doing)?;
    }
    for (name, text) in POLICIES {
        let policy = name.parse().while_doing(doing)?;
        admin.ask(Op::PolicyPut { policy, text: text.into() }).await.while_doing(doing)?;
    }
    Ok((account.person, password))
}

/// The application `NAME.demo` at a site, which its gateway dials at `at`.
pub(crate) fn resource(name: &str, at: SocketAddr, site: &str) -> Result<Resource, Trouble> {
    let wire = serde_json::json!({
        "id": name, "title": name, "site": site, "address": { "name": format!("{name}.demo") },
        "protocol": "tcp", "ports": "80", "target": at.to_string(),
    });
    serde_json::from_value(wire).while_doing("describing an application")
}

/// Makes a gateway; returns the token by which it enrols.
pub(crate) async fn new_gateway(
    admin: &mut Client,
    name: &str,
    site: &str,
) -> Result<Secret<String>, Trouble> {
    let doing = "making a gateway";
    let gateway: GatewayId = name.parse().while_doing(doing)?;
    let create = Op::GatewayCreate { gateway, site: site.parse().while_doing(doing)? };
    let Answer::Token { token, .. } = admin.ask(create).await.while_doing(doing)? else {
        return Err(Trouble::new(doing, "the broker gives no token"));
    };
    Ok(token)
}

fn broker_config(dir: &Path, public: u16, gateways: u16) -> String {
    let state = quoted(&dir.join("broker"));
    format!(
        "origin = \"https://127.0.0.1:{public}\"\nlisten = [\"127.0.0.1:{public}\"]\nstate_dir = {state}\n\n\
         [gateways]\nlisten = [\"127.0.0.1:{gateways}\"]\n\n\
         [limits]\n# The demonstration asks thousands of questions in a row.\n\
         frames_per_second = 100000\nframes_at_once = 100000\n"
    )
}

fn gateway_config(dir: &Path, reach: &[SocketAddr]) -> String {
    let state = quoted(&dir.join("gateway"));
    let reach: Vec<String> = reach.iter().map(|at| format!("\"{at}\"")).collect();
    format!("state_dir = {state}\nreach = [{}]\n\n[udp]\nbind = \"loopback\"\n", reach.join(", "))
}

/// A path as a TOML string.
pub(crate) fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), Trouble> {
    fs::write(path, text).while_doing(&format!("writing {}", path.display()))
}

/// A port that was free a moment ago: the broker's address has to be known before it starts.
fn free_port() -> Result<u16, Trouble> {
    let doing = "looking for a free port";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).while_doing(doing)?;
    Ok(listener.local_addr().while_doing(doing)?.port())
}

/// How long a lease lives in the demonstration, in seconds: 120 is usual.
pub(crate) const LEASE_S: u64 = 10;

/// Staff may know of everything but the ledger; the wiki is open to those whose disk is encrypted, payroll to those
/// whose screen locks as well.
pub(crate) const POLICIES: [(&str, &str); 3] = [
    (
        "see",
        r#"permit (principal in Group::"staff", action == Action::"see", resource in Site::"berlin")
unless { resource == Resource::"ledger" };"#,
    ),
    (
        "wiki",
        r#"permit (principal in Group::"staff", action == Action::"connect", resource == Resource::"wiki")
when { context.device.disk_encrypted.state == "pass" };"#,
    ),
    (
        "payroll",
        r#"permit (principal in Group::"staff", action == Action::"connect", resource == Resource::"payroll")
when { context.device.disk_encrypted.state == "pass" && context.device.screen_lock.state == "pass" };"#,
    ),
];
