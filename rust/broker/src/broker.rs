//! A broker from its settings to its end: state made at the first start, tasks, listeners, shutdown.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustix::process::geteuid;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use ztna_api::admin::Role;
use ztna_api::keyset::KeyUse;
use ztna_model::{Incarnation, OrgId, OrgString, Target, secs};
use ztna_net::clock::Clock;
use ztna_net::fs::FileError;
use ztna_net::random::SystemRandom;
use ztna_net::tcp::{self, ListenError};
use ztna_net::tls::{self, Admitted, Alpn, IdentityError, IdentitySlot, Trust, TrustError};
use ztna_net::uds::{self, LocalListener};
use ztna_pdp::{Keys, Now, Pdp};

use crate::accounts::AccountBook;
use crate::admin::{self, Office};
use crate::config::{Config, Provider};
use crate::desk::{Alarms, Desk, Handle};
use crate::id_tokens::{IdTokens, KeySource, RemoteError, RemoteKeys};
use crate::keys::{CertifyError, KeyRing, KeysError};
use crate::openid;
use crate::server::{self, Front, Listening, Sources};
use crate::store::sqlite::{OpenError, Sqlite};
use crate::store::{Down, LoadError, Store};

mod chores; // what has to be done now and then
mod home; // the state directory
use home::Home;
pub use home::{HomeError, Restored, restore};

/// A broker that is ready to serve.
pub struct Broker {
    org: OrgString,
    socket: PathBuf,
    listening: Vec<Listening>,
    sources: Arc<Sources>,
    desk: Desk,
    handle: Handle,
    office: Arc<Office>,
    admin: LocalListener,
    present: mpsc::Receiver<()>,
    chores: chores::Chores,
    store: Arc<dyn Store>,
    home: Home,
    has_owner: bool,
}

/// Sockets that are open already: for whoever has to know their numbers beforehand.
#[derive(Debug)]
pub struct Listeners {
    /// For everybody.
    pub public: Vec<TcpListener>,
    /// For gateways.
    pub gateways: Vec<TcpListener>,
}

/// Why a broker does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The settings do not fit together.
    #[error("{0}")]
    Config(String),
    /// The state directory.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// What the store holds.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The decisions.
    #[error(transparent)]
    Decisions(#[from] ztna_pdp::StartError),
    /// The own provider.
    #[error("the identity provider: {0}")]
    Provider(String),
    /// The external provider.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A certificate.
    #[error(transparent)]
    Certificate(#[from] CertifyError),
    /// The public listener's certificate.
    #[error("`tls`: {0}")]
    Identity(#[from] IdentityError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TrustError),
    /// A listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A listener's own address.
    #[error("a listener has no address: {0}")]
    Address(io::Error),
    /// The administrators' socket.
    #[error(transparent)]
    Admin(#[from] uds::ListenError),
}

/// Runs a broker until `shutdown` is ready.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
    Broker::start(config).await?.run(shutdown).await;
    Ok(())
}

impl Broker {
    /// Makes what a first start makes, opens sockets, and is ready.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let mut listeners = Listeners { public: vec![], gateways: vec![] };
        for address in &config.listen {
            listeners.public.push(tcp::listen(*address).await?);
        }
        for address in &config.gateways.listen {
            listeners.gateways.push(tcp::listen(*address).await?);
        }
        Self::start_on(config, listeners).await
    }

    /// The same on sockets that are open already.
    pub async fn start_on(config: Config, listeners: Listeners) -> Result<Self, StartError> {
        let bad = |what: &str| StartError::Config(what.to_owned());
        if let Some(what) = config.contradiction() {
            return Err(StartError::Config(what));
        }
        let origin = config.origin.clone().ok_or_else(|| bad("`origin` is missing"))?;
        let home = Home::open(&config.state_dir)?;
        let keys = KeyRing::open(&home.keys(), &origin, Clock.wall())?;
        let sqlite: Arc<dyn Store> = Arc::new(Sqlite::open(&home.store(), home::options(&config)).await?);
        let incarnation = home::settle(&*sqlite, &origin, &config.organisation).await?;
        let parts = Parts { config, origin, keys, store: sqlite, incarnation };
        parts.assemble(home, listeners).await
    }

    /// The organisation, with the hash of its root where that is what devices have to pin.
    pub const fn org(&self) -> &OrgString {
        &self.org
    }

    /// The administrators' socket.
    pub const fn admin_socket(&self) -> &PathBuf {
        &self.socket
    }

    /// Serves until `shutdown` is ready; then nobody new is taken, streams are told to come back, and what was decided is
    /// seen into the store.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self {
            listening,
            sources,
            desk,
            handle,
            office,
            admin,
            mut present,
            chores,
            store,
            home,
            has_owner,
            ..
        } = self;
        let (stop, stopped) = watch::channel(false);
        let mut servers = JoinSet::new();
        for listening in listening {
            servers.spawn(server::serve(listening, Arc::clone(&sources), stopped.clone()));
        }
        let mut behind = JoinSet::new();
        behind.spawn(admin::serve(admin, Arc::clone(&office), stopped.clone()));
        behind.spawn(chores.run(stopped));
        let mut deciding = tokio::spawn(desk.run());
        if !has_owner {
            home::offer_set_up(&handle, &office).await;
        }
        tracing::info!(org = %office.org, "the broker serves");
        tokio::select! {
            () = shutdown => {}
            _ = &mut deciding => tracing::error!("the broker's decisions came to an end"),
        }
        tracing::info!("the broker stops");
        let _ = stop.send(true); // somebody listens, or all have ended
        handle.stop().await;
        let _ = timeout(FAREWELL, &mut deciding).await; // a store that hangs is not waited for
        let _ = timeout(FAREWELL, present.recv()).await; // streams that do not take their leave are cut
        while servers.join_next().await.is_some() {}
        while behind.join_next().await.is_some() {}
        drop((handle, office, store)); // the store ends with the last who could ask it
        drop(home); // and with it the claim on the directory
    }
}

/// What a broker is put together from.
struct Parts {
    config: Config,
    origin: OrgId,
    keys: KeyRing,
    store: Arc<dyn Store>,
    incarnation: Incarnation,
}

impl Parts {
    async fn assemble(self, home: Home, listeners: Listeners) -> Result<Broker, StartError> {
        let (own, public) = self.identities()?;
        let gateways_name = self.gateways_name(&listeners)?;
        let (title, titled) = watch::channel(String::new());
        let (id_tokens, issuer, provider, accounts) = self.provider(titled)?;
        let alarms = Alarms::default();
        let pdp = self.decisions(&issuer).await?;
        if let Some(organisation) = pdp.rows().organisation.values().next() {
            let keys = self.config.organisation.without_effect(&organisation.settings).join(", ");
            if !keys.is_empty() {
                tracing::warn!(
                    %keys,
                    "the file's [organisation] was for its beginning: these are changed by `openztna admin settings set`"
                );
            }
        }
        let has_owner = pdp.rows().people.values().any(|person| person.roles.contains(&Role::Owner));
        let nonces = pdp.nonces().clone();
        let (desk, handle) =
            Desk::new(self.origin.clone(), pdp, Arc::clone(&self.store), alarms.clone(), title);
        let (present_sender, present) = server::presence();
        let sources = Sources::new(self.config.limits);
        let proves_root = self.config.tls.certificate.is_none();
        let front = Arc::new(Front {
            org: self.origin.clone(),
            desk: handle.clone(),
            store: Arc::clone(&self.store),
            keys: self.keys.clone(),
            nonces,
            id_tokens,
            issuer: issuer.clone(),
            client_id: self.config.identity.client_id.clone(),
            scopes: self.config.identity.scopes.clone(),
            gateways_name,
            sources: Arc::clone(&sources),
            present: present_sender,
            clock: Clock,
        });
        let listening = self.listening(listeners, &front, provider, (&own, &public))?;
        let office = Arc::new(Office {
            org: self.origin.clone(),
            uid: geteuid().as_raw(),
            desk: handle.clone(),
            store: Arc::clone(&self.store),
            keys: self.keys.clone(),
            accounts: accounts.map(|book| (book, issuer)),
            alarms: alarms.clone(),
            certificate: Arc::clone(&public),
            proves_root,
            setup_token: home.setup_token(),
            head_file: home.head_file(),
            clock: Clock,
        });
        let chores = self.chores(&home, own, public, alarms);
        let socket = self.config.admin_socket();
        Ok(Broker {
            org: OrgString { org: self.origin, root: proves_root.then(|| self.keys.root()) },
            admin: LocalListener::bind(&socket)?,
            socket,
            listening,
            sources,
            desk,
            handle,
            office,
            present,
            chores,
            store: self.store,
            home,
            has_owner,
        })
    }

    /// This broker's certificate by its own authority, and what the public listener shows.
    fn identities(&self) -> Result<(Arc<IdentitySlot>, Arc<IdentitySlot>), StartError> {
        let names = self.config.server_names(&self.origin);
        let own = self.keys.tls_ca().server(&names, Clock.wall(), &mut SystemRandom::new())?;
        let own = IdentitySlot::new(own);
        let public = match self.config.tls.files() {
            Some((certificate, key)) => IdentitySlot::new(tls::Identity::from_pem_files(certificate, key)?),
            None => Arc::clone(&own),
        };
        Ok((own, public))
    }

    fn gateways_name(&self, listeners: &Listeners) -> Result<Target, StartError> {
        let first = listeners.gateways.first().map(TcpListener::local_addr).transpose();
        let port = first.map_err(StartError::Address)?.map_or(0, |address| address.port());
        let name = self.config.gateways_name(&self.origin, port);
        name.ok_or_else(|| StartError::Config("`gateways.name` is missing".into()))
    }

    async fn decisions(&self, issuer: &str) -> Result<Pdp, StartError> {
        let identity = &self.config.identity;
        let issuer = ztna_pdp::Issuer {
            identifier: issuer.to_owned(),
            client_id: identity.client_id.clone(),
            domains: identity.domains.iter().map(ToString::to_string).collect(),
        };
        let trust = ztna_pdp::Trust { org: self.origin.clone(), issuers: vec![issuer] };
        let keys = Keys {
            lease: self.keys.lease()?,
            nonce: self.keys.secret("nonce", self.incarnation),
            keyset: self.keys.signed_set().to_owned(),
            root: self.keys.root(),
        };
        let rows = self.store.load(&self.origin).await?;
        let now = Now { boot: Clock.now(), wall: Clock.wall() };
        Ok(Pdp::new(trust, rows, keys, Box::new(SystemRandom::new()), now)?)
    }

    /// Whose word on people counts, where it is had, and, where that is here, the provider and its accounts.
    fn provider(
        &self,
        title: watch::Receiver<String>,
    ) -> Result<(IdTokens, String, Router, Option<AccountBook>), StartError> {
        let identity = &self.config.identity;
        let bad = |what: &str| StartError::Provider(what.to_owned());
        match identity.provider {
            Provider::External => {
                let issuer = identity.issuer.clone().unwrap_or_default();
                let trust = identity.ca_file.as_deref().map_or(Ok(Trust::Platform), Trust::from_bundle)?;
                let source = KeySource::Remote(Arc::new(RemoteKeys::new(&issuer, &trust)?));
                let tokens = IdTokens::new(&issuer, &identity.client_id, source);
                Ok((tokens.ok_or_else(|| bad("the issuer is no address"))?, issuer, Router::new(), None))
            }
            Provider::Own => {
                let redirects = identity.redirects.iter().map(|text| text.parse()).collect::<Result<_, _>>();
                let redirects = redirects.map_err(|error: openid::RuleError| bad(&error.to_string()))?;
                let keys =
                    openid::SigningKeys::new(Arc::clone(self.keys.openid()), &self.keys.next(KeyUse::OpenId));
                let setup = openid::Setup {
                    org: self.origin.clone(),
                    title,
                    client: openid::Client::new(identity.client_id.clone(), redirects),
                    keys: keys.map_err(|error| bad(&error.to_string()))?,
                    secret: self.keys.secret("openid", self.incarnation),
                };
                let provider = openid::Provider::new(setup).map_err(|error| bad(&error.to_string()))?;
                let (issuer, jwks) = (provider.issuer().as_str().to_owned(), provider.jwks());
                let book = AccountBook::new(Arc::clone(&self.store), self.keys.store().clone());
                let at_once = NonZeroUsize::new(identity.password_checks).unwrap_or(NonZeroUsize::MIN);
                let service = Arc::new(openid::Service::new(provider, book.clone(), at_once));
                let tokens = IdTokens::new(&issuer, &identity.client_id, KeySource::Own(jwks));
                let tokens = tokens.ok_or_else(|| bad("the issuer is no address"))?;
                Ok((tokens, issuer, openid::router(service), Some(book)))
            }
        }
    }

    fn listening(
        &self,
        listeners: Listeners,
        front: &Arc<Front>,
        provider: Router,
        (own, public): (&Arc<IdentitySlot>, &Arc<IdentitySlot>),
    ) -> Result<Vec<Listening>, StartError> {
        let authorities = self.keys.gateway_ca().certificate().cloned().into_iter().collect();
        let admitted = Admitted { org: self.origin.clone(), authorities };
        let public_tls = tls::server_config(Arc::clone(public), Alpn::Http)?;
        let gateway_tls = tls::gateway_server_config(Arc::clone(own), admitted, Alpn::Http)?;
        let public_router = server::public_router(Arc::clone(front), provider);
        let gateways_router = server::gateways_router(Arc::clone(front));
        let public = listeners.public.into_iter().map(|listener| Listening {
            listener,
            tls: Arc::clone(&public_tls),
            router: public_router.clone(),
            gateways: false,
        });
        let gateways = listeners.gateways.into_iter().map(|listener| Listening {
            listener,
            tls: Arc::clone(&gateway_tls),
            router: gateways_router.clone(),
            gateways: true,
        });
        Ok(public.chain(gateways).collect())
    }

    fn chores(
        &self,
        home: &Home,
        own: Arc<IdentitySlot>,
        public: Arc<IdentitySlot>,
        alarms: Alarms,
    ) -> chores::Chores {
        let files = self.config.tls.files();
        chores::Chores {
            org: self.origin.clone(),
            keys: self.keys.clone(),
            store: Arc::clone(&self.store),
            names: self.config.server_names(&self.origin),
            own,
            files: files.map(|(certificate, key)| (certificate.into(), key.into(), public)),
            keep_days: self.config.audit.keep_days,
            head_file: home.head_file(),
            alarms,
            clock: Clock,
        }
    }
}

impl From<Down> for StartError {
    fn from(down: Down) -> Self {
        Self::Load(down.into())
    }
}

/// How long streams and the store may take at the end.
const FAREWELL: Duration = secs(5);
