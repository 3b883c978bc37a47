use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use ztna_api::admin::{Answer, Group, Invited, Op, Site};
use ztna_broker::admin::{Client, LocalAnswer, LocalOp};
use ztna_broker::{Broker, Config, Listeners};
use ztna_model::{GroupId, OrgString, PersonId, RootHash, Secret};
use ztna_net::tls::{self, Alpn, Trust};

use crate::dir::TempDir;
use crate::gate::Gate;

pub(crate) const PASSWORD: &str = "correct horse battery";

const WIKI: &str =
    r#"permit(principal in Group::"staff", action == Action::"connect", resource == Resource::"wiki");"#;

/// A broker that runs on loopback, with real sockets and files.
pub(crate) struct World {
    dir: TempDir,
    pub(crate) config: Config,
    pub(crate) org: OrgString,
    pub(crate) public: SocketAddr,
    pub(crate) gateways: SocketAddr,
    running: Option<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// A broker with other settings than usual.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = TempDir::new();
        let (public, gateways) = (listen("127.0.0.1:0").await, listen("127.0.0.1:0").await);
        let address = |listener: &TcpListener| listener.local_addr().unwrap();
        let mut config = Config {
            origin: Some(format!("https://{}", address(&public)).parse().unwrap()),
            state_dir: dir.path("state"),
            ..Config::default()
        };
        config.organisation.title = "Acme".into();
        change(&mut config);
        let org = OrgString { org: config.origin.clone().unwrap(), root: None };
        let mut world =
            Self { dir, config, org, public: address(&public), gateways: address(&gateways), running: None };
        world.start_on(public, gateways).await;
        world
    }

    async fn start_on(&mut self, public: TcpListener, gateways: TcpListener) {
        let listeners = Listeners { public: vec![public], gateways: vec![gateways] };
        let broker = Broker::start_on(self.config.clone(), listeners).await.unwrap();
        self.org = broker.org().clone();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(broker.run(async {
            let _ = stopped.await;
        }));
        self.running = Some(Running { stop, ended });
    }

    /// Stops the broker as a service manager does.
    pub(crate) async fn stop(&mut self) {
        let running = self.running.take().unwrap();
        running.stop.send(()).unwrap();
        running.ended.await.unwrap();
    }

    /// Starts it again in the same place.
    pub(crate) async fn start(&mut self) {
        let (public, gateways) =
            (listen(&self.public.to_string()).await, listen(&self.gateways.to_string()).await);
        self.start_on(public, gateways).await;
    }

    pub(crate) fn root(&self) -> RootHash {
        self.org.root.unwrap()
    }

    /// The directory around the state directory.
    pub(crate) fn around(&self) -> &Path {
        self.dir.root()
    }

    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.config.state_dir.join(name)
    }

    pub(crate) async fn admin(&self) -> Client {
        Client::connect(&self.state("admin.sock")).await.unwrap()
    }

    pub(crate) async fn ask(&self, op: Op) -> Answer {
        self.admin().await.ask(op).await.unwrap()
    }

    pub(crate) async fn ask_local(&self, op: LocalOp) -> LocalAnswer {
        self.admin().await.ask_local(op).await.unwrap()
    }

    /// An account with [`PASSWORD`], and an invitation.
    pub(crate) async fn person(&self, name: &str) -> PersonId {
        let op = LocalOp::AccountAdd {
            name: name.into(),
            password: Some(Secret::new(PASSWORD.to_owned())),
            display_name: name.to_uppercase(),
            email: None,
            groups: vec![],
        };
        let LocalAnswer::Account { account, .. } = self.ask_local(op).await else { panic!("no account") };
        let who = Invited::Person(account.person.clone());
        self.ask(Op::PersonInvite { who, name: name.into(), groups: Default::default() }).await;
        account.person
    }

    /// The token of a gateway to come, at a site that is made if need be.
    pub(crate) async fn gateway_token(&self, id: &str) -> Secret<String> {
        let site = Site { id: "hq".parse().unwrap(), title: "Headquarters".into() };
        self.ask(Op::SitePut { site }).await;
        let op = Op::GatewayCreate { gateway: id.parse().unwrap(), site: "hq".parse().unwrap() };
        let Answer::Token { token, .. } = self.ask(op).await else { panic!("no token") };
        token
    }

    /// A gateway that is enrolled and not connected.
    pub(crate) async fn gateway(&self, id: &str) -> Gate {
        Gate::of(self, &self.gateway_token(id).await).await
    }

    /// A wiki for the staff at headquarters, and `person` among them.
    pub(crate) async fn wiki(&self, person: &PersonId) {
        let staff: BTreeSet<GroupId> = ["staff".parse().unwrap()].into();
        let group = Group { id: "staff".parse().unwrap(), title: "Staff".into(), claims: BTreeSet::new() };
        let site = Site { id: "hq".parse().unwrap(), title: "Headquarters".into() };
        let wiki = serde_json::json!({
            "id": "wiki", "title": "Wiki", "site": "hq", "address": {"name": "wiki.demo"},
            "protocol": "tcp", "ports": "80",
        });
        for op in [
            Op::GroupPut { group },
            Op::PersonGroups { person: person.clone(), groups: staff },
            Op::SitePut { site },
            Op::ResourcePut { resource: serde_json::from_value(wiki).unwrap() },
            Op::PolicyPut { policy: "wiki".parse().unwrap(), text: WIKI.into() },
        ] {
            self.ask(op).await;
        }
    }

    /// An HTTP client that pins the broker's root, keeps no cookies and follows no redirects.
    pub(crate) fn http(&self) -> reqwest::Client {
        let tls = tls::client_config(&Trust::Pinned(self.root()), None, Alpn::Http).unwrap();
        reqwest::Client::builder()
            .tls_backend_preconfigured((*tls).clone())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.org.org)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.ended.abort();
        }
    }
}

async fn listen(address: &str) -> TcpListener {
    TcpListener::bind(address).await.unwrap()
}
