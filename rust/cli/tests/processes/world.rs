//! ```text
//!   DIR/broker.toml    DIR/broker/     openztna broker
//!   DIR/gateway.toml   DIR/gateway/    openztna gateway        wiki, board, payroll, ledger: served by the test
//!   DIR/ana.toml       DIR/ana/        openztna connect
//! ```

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use serde_json::{Value, json};
use ztna_model::OrgString;

use crate::application::{Proxy, serve};
use crate::dir::TempDir;
use crate::person;
use crate::process::{OPENZTNA, Process, Said, run, until};

/// An organisation that runs: everything in one directory, everything set up by the command line.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) org: OrgString,
    pub(crate) broker: Process,
    pub(crate) gateway: Process,
    pub(crate) password: String,
    /// What every process logs.
    pub(crate) log: &'static str,
    /// What has served: tokens that were good once.
    pub(crate) spent: Vec<String>,
    /// How connectors let applications in.
    pub(crate) door: &'static [&'static str],
}

/// A connector that runs.
pub(crate) struct Connector {
    pub(crate) process: Process,
    pub(crate) proxy: Proxy,
}

impl World {
    /// An organisation with a gateway, and Ana, who may reach the wiki and the board, and may know of payroll.
    pub(crate) async fn new() -> Self {
        Self::logging("warn").await
    }

    pub(crate) async fn logging(log: &'static str) -> Self {
        let dir = TempDir::new();
        let [public, gateways] = [free_port(), free_port()];
        dir.write("broker.toml", &broker_config(&dir, "broker", public, gateways));
        let (broker, org) = start_broker(&dir, log).await;
        let gateway = Process::start(&["--version"]); // until there is one
        let (password, spent) = (String::new(), Vec::new());
        let mut world = Self { dir, org, broker, gateway, password, log, spent, door: &["--proxy"] };
        world.furnish().await;
        world.enrol().await;
        world.start_gateway().await;
        world
    }

    async fn furnish(&mut self) {
        self.dir.write("settings.json", &settings().to_string());
        self.done(&["settings", "put", &self.dir.text("settings.json")]).await;
        self.done(&["groups", "put", "staff", "--title", "Staff"]).await;
        let added = self.done(&["accounts", "add", "ana", "--name", "Ana", "--group", "staff"]).await;
        self.password = added.out.lines().nth(1).unwrap().to_owned();
        self.done(&["sites", "create", "berlin"]).await;
        let mut reach = Vec::new();
        for name in ["wiki", "board", "payroll", "ledger"] {
            let target = serve(name).await;
            reach.push(target);
            let (host, target) = (format!("{name}.test"), target.to_string());
            let put =
                ["resources", "put", name, &host, "--site", "berlin", "--ports", "80", "--target", &target];
            self.done(&put).await;
        }
        for (name, text) in POLICIES {
            self.put_policy(name, text).await;
        }
        self.dir.write("gateway.toml", &gateway_config(&self.dir, &reach));
        let state = self.dir.text("ana");
        let config =
            format!("state_dir = {state:?}\n[proxy]\nlisten = \"127.0.0.1:0\"\n[udp]\nbind = \"loopback\"\n");
        self.dir.write("ana.toml", &config);
    }

    async fn enrol(&mut self) {
        let token = self.done(&["gateways", "create", "berlin-1", "--site", "berlin"]).await.out;
        let config = self.dir.text("gateway.toml");
        let args = ["--log", self.log, "gateway", "--config", &config, "enrol", "-"];
        let enrolled = run(OPENZTNA, &args, &token).await;
        assert_eq!(enrolled.code, 0, "{}", enrolled.err);
        self.dir.write("enrol.log", &enrolled.err);
        self.spent.push(token.trim().to_owned());
    }

    /// Asks the broker as its administrator.
    pub(crate) async fn admin(&self, args: &[&str]) -> Said {
        let socket = self.dir.text("broker/admin.sock");
        run(OPENZTNA, &[&["admin", "--socket", &socket], args].concat(), "").await
    }

    /// The same, for what has to work.
    pub(crate) async fn done(&self, args: &[&str]) -> Said {
        let said = self.admin(args).await;
        assert_eq!(said.code, 0, "{args:?}: {}{}", said.out, said.err);
        said
    }

    /// The same, for programs.
    pub(crate) async fn json(&self, args: &[&str]) -> Value {
        let said = self.done(&[&["--json"], args].concat()).await;
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{args:?}: {error} in {}", said.out))
    }

    pub(crate) async fn put_policy(&self, name: &str, text: &str) {
        let file = format!("{name}.cedar");
        self.dir.write(&file, text);
        self.done(&["policies", "put", name, &self.dir.text(&file)]).await;
    }

    /// Starts the broker again, where it was.
    pub(crate) async fn start_broker(&mut self) {
        let (broker, org) = start_broker(&self.dir, self.log).await;
        assert_eq!(org, self.org);
        self.broker = broker;
    }

    /// Starts the gateway, and waits until it has reached the broker.
    pub(crate) async fn start_gateway(&mut self) {
        let config = self.dir.text("gateway.toml");
        self.gateway = Process::start(&["--log", self.log, "gateway", "--config", &config]);
        self.gateway_is_back().await;
    }

    /// Waits until the gateway has reached the broker.
    pub(crate) async fn gateway_is_back(&self) {
        let config = self.dir.text("gateway.toml");
        until("the gateway reaches the broker", || async {
            let said = run(OPENZTNA, &["--json", "gateway", "--config", &config, "status"], "").await;
            let status: Value = serde_json::from_str(&said.out).ok()?;
            status["source"]["connected_since"].as_u64()
        })
        .await;
    }

    /// Connects, with a sign-in by Ana.
    pub(crate) async fn sign_in(&self) -> Connector {
        let (process, page) = self.ask_to_sign_in().await;
        person::sign_in(&self.org, &page, "ana", &self.password).await;
        self.connected(process).await
    }

    /// Starts a connector that nobody is signed in at; with the address of the page that it asks to open.
    pub(crate) async fn ask_to_sign_in(&self) -> (Process, String) {
        let (org, config) = (self.org.to_string(), self.dir.text("ana.toml"));
        let args = ["--log", self.log, "connect", &org, "--config", &config, "--no-browser"];
        let mut process = Process::start(&[&args, self.door].concat());
        let is_page =
            |line: &str| Some(line.trim()).filter(|line| line.starts_with("https://")).map(str::to_owned);
        let page = process.says(is_page).await;
        (process, page)
    }

    /// Connects by the session on the disk.
    pub(crate) async fn connect(&self) -> Connector {
        self.connected(self.start_connector()).await
    }

    /// Waits until the connector has a tunnel, and asks it for its proxy's password: a pipe does not get to read it.
    pub(crate) async fn connected(&self, mut process: Process) -> Connector {
        let line = process.says(|line| line.contains("SOCKS5").then(|| line.to_owned())).await;
        process.says(|line| line.starts_with("Connected to").then_some(())).await;
        let proxy = Proxy::of(&self.status().await);
        assert!(!line.contains(&proxy.password), "{line}");
        Connector { process, proxy }
    }

    /// Starts the connector, which must not ask for a sign-in.
    pub(crate) fn start_connector(&self) -> Process {
        let config = self.dir.text("ana.toml");
        let args = ["--log", self.log, "connect", "--config", &config, "--no-sign-in"];
        Process::start(&[&args, self.door].concat())
    }

    /// How the connector stands, as `openztna --json status` says.
    pub(crate) async fn status(&self) -> Value {
        let said = run(OPENZTNA, &["--json", "status", "--config", &self.dir.text("ana.toml")], "").await;
        serde_json::from_str(&said.out).unwrap_or(Value::Null)
    }

    /// Waits until the connector says that it is in one of these states.
    pub(crate) async fn until_state(&self, states: &[&str]) {
        until(&format!("the connector is {states:?}"), || async {
            let status = self.status().await;
            states.contains(&status["state"].as_str()?).then_some(())
        })
        .await;
    }

    /// An application asks once, and is answered: nothing stands in the way.
    pub(crate) async fn reaches(&self, proxy: &Proxy, host: &str) {
        let (status, answer) = proxy.get(host).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Waits until an application answers.
    pub(crate) async fn until_reached(&self, proxy: &Proxy, host: &str) {
        until(&format!("{host} answers"), || async { (proxy.get(host).await.0 == 200).then_some(()) }).await;
    }

    /// Waits until the broker and the connector have a stream again; returns the session.
    pub(crate) async fn until_session_is_connected(&self) -> String {
        until("the session is connected", || async {
            let sessions = self.json(&["sessions", "list"]).await;
            let [session] = sessions["sessions"].as_array()?.as_slice() else { return None };
            session["connected"].as_bool()?.then(|| session["sid"].as_str().map(str::to_owned))?
        })
        .await
    }
}

async fn start_broker(dir: &TempDir, log: &str) -> (Process, OrgString) {
    let mut broker = Process::start(&["--log", log, "broker", "--config", &dir.text("broker.toml")]);
    let org = broker.says(|line| line.trim().parse().ok()).await;
    broker.says(|line| line.contains("admin --socket").then_some(())).await;
    (broker, org)
}

pub(crate) fn broker_config(dir: &TempDir, state: &str, public: u16, gateways: u16) -> String {
    let state = dir.text(state);
    format!(
        "origin = \"https://127.0.0.1:{public}\"\nlisten = [\"127.0.0.1:{public}\"]\nstate_dir = {state:?}\n\n\
         [gateways]\nlisten = [\"127.0.0.1:{gateways}\"]\n\n[identity]\ndomains = [\"acme.example\"]\n"
    )
}

fn gateway_config(dir: &TempDir, reach: &[SocketAddr]) -> String {
    let (state, reach) = (dir.text("gateway"), reach.iter().map(ToString::to_string).collect::<Vec<_>>());
    format!("state_dir = {state:?}\nreach = {reach:?}\n\n[udp]\nbind = \"loopback\"\n")
}

fn settings() -> Value {
    json!({ "title": "Test", "lease_ttl_s": LEASE_S, "requirements": { "tier": 0, "simulated": false } })
}

/// A port that was free a moment ago: the broker's address has to be known before it starts.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// How long a lease lives here, in seconds.
const LEASE_S: u64 = 6;

pub(crate) const WIKI: &str =
    r#"permit (principal in Group::"staff", action == Action::"connect", resource == Resource::"wiki");"#;

const POLICIES: [(&str, &str); 3] = [
    (
        "see",
        r#"permit (principal in Group::"staff", action == Action::"see", resource in Site::"berlin")
unless { resource == Resource::"ledger" };"#,
    ),
    ("wiki", WIKI),
    (
        "board",
        r#"permit (principal in Group::"staff", action == Action::"connect", resource == Resource::"board");"#,
    ),
];
