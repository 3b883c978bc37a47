use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::time::timeout;
use ztna_model::{OrgString, millis, secs};

use crate::dir::TempDir;
use crate::lab::{Lab, Leaks, Namespace, Nat};
use crate::person;
use crate::process::{OPENZTNA, Process, Said, run, until};

/// The product in the lab: the broker at its place, a site with a gateway in Berlin and one in Tokyo, and the echo, an
/// application that stands at both.
pub(crate) struct Organisation {
    pub(crate) lab: Lab,
    _broker: Process,
    /// In Berlin and in Tokyo.
    pub(crate) gateways: Vec<Process>,
    org: OrgString,
    dir: TempDir,
    password: String,
}

/// An application's connection to the echo.
#[derive(Clone)]
pub(crate) struct Flow(Arc<Mutex<TcpStream>>);

impl Organisation {
    /// Everything runs; leases live for `lease`; gateways are in as many of the two places as are asked for.
    pub(crate) async fn new(nat: Nat, lease: Duration, gateways: usize) -> Self {
        let lab = Lab::new(nat);
        std::fs::write("/etc/hosts", HOSTS).unwrap();
        let dir = TempDir::new();
        dir.write("broker.toml", &broker_config(&dir));
        let config = dir.text("broker.toml");
        let mut broker = start(&lab.broker, &["broker", "--config", &config]);
        let org = broker.says(|line| line.trim().parse().ok()).await;
        broker.says(|line| line.contains("admin --socket").then_some(())).await;
        let mut made = Self { lab, _broker: broker, gateways: vec![], org, dir, password: String::new() };
        made.furnish(lease).await;
        for number in 0..gateways {
            made.add_gateway(number).await;
        }
        made
    }

    async fn furnish(&mut self, lease: Duration) {
        let settings = json!({ "title": "Lab", "lease_ttl_s": lease.as_secs(), "requirements": { "tier": 0, "simulated": false } });
        self.dir.write("settings.json", &settings.to_string());
        self.admin(&["settings", "put", &self.dir.text("settings.json")]).await;
        self.admin(&["groups", "put", "staff", "--title", "Staff"]).await;
        let added = self.admin(&["accounts", "add", "ana", "--name", "Ana", "--group", "staff"]).await;
        self.password = added.out.lines().nth(1).unwrap().to_owned();
        self.admin(&["sites", "create", "company"]).await;
        let put = ["resources", "put", "echo", ECHO, "--site", "company", "--ports", "7", "--target", TARGET];
        self.admin(&put).await;
        self.dir.write("echo.cedar", POLICY);
        self.admin(&["policies", "put", "echo", &self.dir.text("echo.cedar")]).await;
        self.dir.write(
            "ana.toml",
            &format!("state_dir = {:?}\n[proxy]\nlisten = \"127.0.0.1:1080\"\n", self.dir.text("ana")),
        );
    }

    async fn add_gateway(&mut self, number: usize) {
        let (place, name) = (self.place(number), format!("gateway-{number}"));
        serve_echo(place).await;
        let token = self.admin(&["gateways", "create", &name, "--site", "company"]).await.out;
        let state = self.dir.text(&name);
        self.dir.write(&format!("{name}.toml"), &format!("state_dir = {state:?}\nreach = [{TARGET:?}]\n"));
        let config = self.dir.text(&format!("{name}.toml"));
        let enrol = place.exec(OPENZTNA, &["gateway", "--config", &config, "enrol", "-"]).join(" ");
        let enrolled = run("ip", &enrol.split(' ').collect::<Vec<_>>(), &token).await;
        assert_eq!(enrolled.code, 0, "{}", enrolled.err);
        let gateway = start(place, &["gateway", "--config", &config]);
        until("the gateway reaches the broker", || async {
            let said = run(OPENZTNA, &["--json", "gateway", "--config", &config, "status"], "").await;
            serde_json::from_str::<Value>(&said.out).ok()?["source"]["connected_since"].as_u64()
        })
        .await;
        self.gateways.push(gateway);
    }

    /// Where a gateway stands.
    pub(crate) fn place(&self, number: usize) -> &Namespace {
        if number == 0 { &self.lab.berlin } else { &self.lab.tokyo }
    }

    /// Asks the broker as its administrator.
    async fn admin(&self, args: &[&str]) -> Said {
        let socket = self.dir.text("broker/admin.sock");
        let said = run(OPENZTNA, &[&["admin", "--socket", &socket], args].concat(), "").await;
        assert_eq!(said.code, 0, "{args:?}: {}{}", said.out, said.err);
        said
    }

    /// Ana signs in on the client and is connected: `door` is nothing, or `--proxy` for the local proxy alone.
    pub(crate) async fn sign_in(&self, door: &[&str]) -> Process {
        let (org, config) = (self.org.to_string(), self.dir.text("ana.toml"));
        let args = [&["connect", &org, "--config", &config, "--no-browser"], door].concat();
        let mut process = start(&self.lab.client, &args);
        let page = process
            .says(|line| Some(line.trim()).filter(|line| line.starts_with("https://")).map(str::to_owned))
            .await;
        let (org, password) = (self.org.clone(), self.password.clone());
        self.lab.client.within(async move { person::sign_in(&org, &page, "ana", &password).await }).await;
        process.says(|line| line.starts_with("Connected to").then_some(())).await;
        process
    }

    /// How the connector stands.
    pub(crate) async fn status(&self) -> Value {
        let said = run(OPENZTNA, &["--json", "status", "--config", &self.dir.text("ana.toml")], "").await;
        serde_json::from_str(&said.out).unwrap_or(Value::Null)
    }

    /// An application opens a connection to the echo through the local proxy; nothing, if it is refused.
    pub(crate) async fn try_open(&self) -> Option<Flow> {
        let status = self.status().await;
        let password = status["proxy"]["password"].as_str()?.to_owned();
        self.lab.client.within(async move { connect(&password).await }).await
    }

    /// The same, until it is not.
    pub(crate) async fn open(&self) -> Flow {
        until("the echo answers", || self.try_open()).await
    }

    /// Whether something comes back through `flow`, before `patience` ends.
    pub(crate) async fn echoes(&self, flow: &Flow, patience: Duration) -> bool {
        self.brings_back(flow, b"echo".to_vec(), patience).await
    }

    /// Asks for an answer that comes after a while: until then the application says nothing.
    pub(crate) async fn answers_later(&self, flow: &Flow, patience: Duration) -> bool {
        self.brings_back(flow, LATER.to_vec(), A_WHILE + patience).await
    }

    /// Whether all of `bytes` comes back through `flow`, before `patience` ends.
    pub(crate) async fn brings_back(&self, flow: &Flow, bytes: Vec<u8>, patience: Duration) -> bool {
        let stream = Arc::clone(&flow.0);
        let echo = async move {
            let mut stream = stream.lock().await;
            let (mut read, mut write) = stream.split();
            let mut back = vec![0; bytes.len()];
            tokio::try_join!(write.write_all(&bytes), read.read_exact(&mut back)).ok()?;
            (back == bytes).then_some(())
        };
        self.lab.client.within(async move { matches!(timeout(patience, echo).await, Ok(Some(()))) }).await
    }

    /// An application that knows nothing of a proxy opens a connection to the echo by its name.
    pub(crate) async fn open_by_name(&self) -> Flow {
        let open = || async {
            let stream = self.lab.client.within(async { TcpStream::connect((ECHO, 7)).await.ok() }).await?;
            Some(Flow(Arc::new(Mutex::new(stream))))
        };
        until("the echo answers", open).await
    }

    /// Nobody had to sign in again, and nothing left the client past the tunnel.
    pub(crate) async fn is_undisturbed(&self) {
        assert_eq!(self.status().await["state"], "connected");
        assert_eq!(self.lab.leaks(), Leaks::NONE);
    }

    /// The gateway that answers the client now, as its place in the list.
    pub(crate) async fn serving(&self) -> usize {
        let status = self.status().await.to_string();
        usize::from(!status.contains(crate::lab::BERLIN[0]) && !status.contains(crate::lab::BERLIN[1]))
    }
}

/// Starts the product on a machine.
fn start(machine: &Namespace, args: &[&str]) -> Process {
    let log = std::env::var("OPENZTNA_LAB_LOG").unwrap_or_else(|_| "warn".into());
    Process::start_by(&["ip", "netns", "exec", &machine.name], &[&["--log", &log], args].concat())
}

async fn serve_echo(machine: &Namespace) {
    let listener = machine.within(async { TcpListener::bind(TARGET).await.unwrap() }).await;
    machine.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = vec![0; 1 << 16];
                while let Ok(length @ 1..) = stream.read(&mut bytes).await {
                    if &bytes[..length] == LATER {
                        tokio::time::sleep(A_WHILE).await;
                    }
                    if stream.write_all(&bytes[..length]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

async fn connect(password: &str) -> Option<Flow> {
    use base64::Engine as _;
    let mut stream = TcpStream::connect("127.0.0.1:1080").await.ok()?;
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("openztna:{password}"));
    let head = format!(
        "CONNECT {ECHO}:7 HTTP/1.1\r\nHost: {ECHO}:7\r\nProxy-Authorization: Basic {credentials}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let read = async {
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.ok()?);
        }
        answer.starts_with(b"HTTP/1.1 200").then_some(())
    };
    timeout(secs(10), read).await.ok()??;
    Some(Flow(Arc::new(Mutex::new(stream))))
}

fn broker_config(dir: &TempDir) -> String {
    let state = dir.text("broker");
    format!(
        "origin = \"https://broker.lab:8443\"\nlisten = [\"203.0.113.10:8443\", \"[2001:db8:3::2]:8443\"]\nstate_dir = {state:?}\n\n\
         [gateways]\nlisten = [\"203.0.113.10:8444\"]\n"
    )
}

const LATER: &[u8] = b"later";
const A_WHILE: Duration = millis(1500);
const HOSTS: &str = "127.0.0.1 localhost\n203.0.113.10 broker.lab\n2001:db8:3::2 broker.lab\n";
const ECHO: &str = "echo.company.test";
const TARGET: &str = "127.0.0.1:7777";
const POLICY: &str =
    r#"permit (principal in Group::"staff", action == Action::"connect", resource == Resource::"echo");"#;
