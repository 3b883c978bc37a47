//! What whoever runs a broker sets.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;
use ztna_api::admin::Settings;
use ztna_model::{DomainName, Host, OrgId, Port, Target, Tier};
use ztna_net::settings::{self, LogConfig, SettingsError};

use crate::openid::RedirectRule;

/// A broker's settings, as `broker.toml` gives them. [`Config::DOCUMENTED`] explains each.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The organisation.
    pub origin: Option<OrgId>,
    /// Where the public listener takes connections.
    pub listen: Vec<SocketAddr>,
    /// Where keys, the store and the administrators' socket are kept.
    pub state_dir: PathBuf,
    /// The name of this broker's chain in the audit log.
    pub name: String,
    /// The public listener's certificates.
    pub tls: TlsConfig,
    /// The gateways' listener.
    pub gateways: GatewaysConfig,
    /// Who signs people in.
    pub identity: IdentityConfig,
    /// What a new organisation begins with.
    pub organisation: OrganisationConfig,
    /// How much there may be.
    pub limits: LimitsConfig,
    /// For how long the audit log is kept.
    pub audit: AuditConfig,
    /// What is logged, for whoever sets up logging.
    pub log: LogConfig,
}

/// The public listener's certificates.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// Certificates, the server's own first (PEM).
    pub certificate: Option<PathBuf>,
    /// Their key (PEM).
    pub key: Option<PathBuf>,
}

/// The gateways' listener.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewaysConfig {
    /// Where it takes connections.
    pub listen: Vec<SocketAddr>,
    /// How gateways reach it.
    pub name: Option<Target>,
}

/// Who signs people in.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityConfig {
    /// Whose provider it is.
    pub provider: Provider,
    /// The domains whose e-mail addresses it may vouch for.
    pub domains: Vec<DomainName>,
    /// The connector's client id.
    pub client_id: String,
    /// What the connector asks for.
    pub scopes: Vec<String>,
    /// Where a sign-in at the own provider may bring the browser back.
    pub redirects: Vec<String>,
    /// How many passwords are checked at once.
    pub password_checks: usize,
    /// The external issuer.
    pub issuer: Option<String>,
    /// Certificates to check its server by.
    pub ca_file: Option<PathBuf>,
}

/// Whose provider it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// The broker's own.
    #[default]
    Own,
    /// Somebody else's.
    External,
}

/// What a new organisation begins with.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrganisationConfig {
    /// What people call it.
    pub title: String,
    /// Whether a person's first device admits itself.
    pub first_device: bool,
    /// The most devices a person may have.
    pub devices_per_person: u32,
    /// How many seconds a lease lives.
    pub lease_ttl_s: u64,
    /// The weakest evidence that counts.
    pub tier: Tier,
    /// Whether made-up facts count.
    pub simulated: bool,
    /// Domain names under which everything is the organisation's.
    pub suffixes: Vec<DomainName>,
}

/// How much there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address.
    pub connections_per_source: usize,
    /// Requests a second from one address, on average.
    pub requests_per_second: u32,
    /// Requests at once from one address.
    pub requests_at_once: u32,
    /// Frames a second on a device's stream, on average.
    pub frames_per_second: u32,
    /// Frames at once on a device's stream.
    pub frames_at_once: u32,
}

/// For how long the audit log is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Days; 0 for ever.
    pub keep_days: u64,
}

/// Why a broker's settings cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Settings that do not fit together.
    #[error("{}: {what}", path.display())]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// Which, and what would be right.
        what: String,
    },
}

impl Config {
    /// Every setting with its default and what it means: what `--print-default-config` prints.
    pub const DOCUMENTED: &'static str = include_str!("broker.toml");

    /// The settings in the file at `path`, with `OPENZTNA_BROKER_…` from `environment` above them.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let config: Self = settings::load(path, "OPENZTNA_BROKER", environment)?;
        match config.contradiction() {
            Some(what) => Err(ConfigError::Contradiction { path: path.into(), what }),
            None => Ok(config),
        }
    }

    /// The administrators' socket.
    pub fn admin_socket(&self) -> PathBuf {
        self.state_dir.join("admin.sock")
    }

    /// How gateways reach their listener, for an organisation at `origin` and a listener on `port`.
    pub(crate) fn gateways_name(&self, origin: &OrgId, port: u16) -> Option<Target> {
        if let Some(name) = &self.gateways.name {
            return Some(name.clone());
        }
        Some(Target { host: origin.host().parse().ok()?, port: Some(Port::new(port)?) })
    }

    /// The names that the broker's own certificate proves.
    pub(crate) fn server_names(&self, origin: &OrgId) -> Vec<Host> {
        let mut names: Vec<Host> = origin.host().parse().into_iter().collect();
        names.extend(
            self.gateways.name.as_ref().map(|name| name.host.clone()).filter(|host| !names.contains(host)),
        );
        names
    }

    /// What does not fit together, and what would be right.
    pub(crate) fn contradiction(&self) -> Option<String> {
        let Self { origin, listen, name, tls, gateways, identity, organisation, limits, .. } = self;
        let fits: [(bool, &str); 14] = [
            (origin.is_some(), "`origin` is missing: an HTTPS origin such as \"https://ztna.acme.example\""),
            (!listen.is_empty(), "`listen` holds one address at least"),
            (!gateways.listen.is_empty(), "`gateways.listen` holds one address at least"),
            ((1..=64).contains(&name.len()), "`name` has 1 to 64 characters"),
            (tls.certificate.is_some() == tls.key.is_some(), "`tls.certificate` and `tls.key` go together"),
            (
                gateways.name.as_ref().is_none_or(|name| name.port.is_some()),
                "`gateways.name` ends with a port",
            ),
            (!identity.client_id.is_empty(), "`identity.client_id` is not empty"),
            (identity.scopes.iter().any(|scope| scope == "openid"), "`identity.scopes` holds \"openid\""),
            (identity.password_checks > 0, "`identity.password_checks` is 1 at least"),
            (
                (identity.provider == Provider::External) == identity.issuer.is_some(),
                "`identity.issuer` is set for an external provider, and for no other",
            ),
            (
                identity.provider == Provider::External || identity.ca_file.is_none(),
                "`identity.ca_file` is for an external provider",
            ),
            ((5..=300).contains(&organisation.lease_ttl_s), "`organisation.lease_ttl_s` is 5 to 300"),
            (
                organisation.suffixes.iter().all(DomainName::may_be_private),
                "`organisation.suffixes` are one organisation's alone, such as \"corp.acme.example\"",
            ),
            (
                limits.connections > 0
                    && limits.connections_per_source > 0
                    && limits.requests_per_second > 0
                    && limits.requests_at_once > 0
                    && limits.frames_per_second > 0
                    && limits.frames_at_once > 0,
                "`limits` are 1 at least",
            ),
        ];
        let broken = fits.iter().find(|(fits, _)| !fits).map(|(_, what)| (*what).to_owned());
        broken.or_else(|| self.bad_redirect())
    }

    fn bad_redirect(&self) -> Option<String> {
        let redirects = self.identity.redirects.iter().map(|text| text.parse::<RedirectRule>());
        redirects.filter_map(Result::err).next().map(|error| format!("`identity.redirects`: {error}"))
    }
}

impl TlsConfig {
    /// Certificates and key, where they are given.
    pub(crate) fn files(&self) -> Option<(&Path, &Path)> {
        self.certificate.as_deref().zip(self.key.as_deref())
    }
}

impl OrganisationConfig {
    /// The settings of a new organisation.
    pub(crate) fn settings(&self) -> Settings {
        // Only what is said here: all else follows the defaults of whatever version runs.
        let mut requirements = serde_json::Map::new();
        requirements.insert("tier".into(), u8::from(self.tier).into());
        requirements.insert("simulated".into(), self.simulated.into());
        Settings {
            title: self.title.clone(),
            first_device: self.first_device,
            devices_per_person: self.devices_per_person,
            lease_ttl_s: self.lease_ttl_s,
            suffixes: self.suffixes.clone(),
            requirements,
            ..Settings::default()
        }
    }

    /// Which keys say something that an organisation with these `settings` does not do: it was made before they were
    /// written, or its administrators have changed its settings since.
    pub(crate) fn without_effect(&self, settings: &Settings) -> Vec<String> {
        let [new, default, now] = [&self.settings(), &Self::default().settings(), settings].map(flat);
        let ignored = new
            .into_iter()
            .filter(|(key, value)| default.get(key) != Some(value) && now.get(key) != Some(value));
        ignored.map(|(key, _)| key).collect()
    }
}

/// Settings by their names, with the parts of `requirements` among them.
fn flat(settings: &Settings) -> serde_json::Map<String, serde_json::Value> {
    let Ok(serde_json::Value::Object(mut all)) = serde_json::to_value(settings) else {
        return serde_json::Map::new(); // plain data always has a JSON form
    };
    if let Some(serde_json::Value::Object(parts)) = all.remove("requirements") {
        all.extend(parts);
    }
    all
}

impl Default for Config {
    fn default() -> Self {
        Self {
            origin: None,
            listen: vec![everywhere(443)],
            state_dir: PathBuf::from("/var/lib/openztna/broker"),
            name: "broker-1".into(),
            tls: TlsConfig::default(),
            gateways: GatewaysConfig::default(),
            identity: IdentityConfig::default(),
            organisation: OrganisationConfig::default(),
            limits: LimitsConfig::default(),
            audit: AuditConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl Default for GatewaysConfig {
    fn default() -> Self {
        Self { listen: vec![everywhere(8443)], name: None }
    }
}

impl Default for IdentityConfig {
    fn default() -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            provider: Provider::default(),
            domains: vec![],
            client_id: "openztna".into(),
            scopes: texts(&["openid", "profile", "email", "groups"]),
            redirects: texts(&["http://127.0.0.1/back", "http://[::1]/back"]),
            password_checks: 2,
            issuer: None,
            ca_file: None,
        }
    }
}

impl Default for OrganisationConfig {
    fn default() -> Self {
        Self {
            title: "OpenZTNA".into(),
            first_device: true,
            devices_per_person: 5,
            lease_ttl_s: 120,
            tier: Tier::ProvenApp,
            simulated: false,
            suffixes: Vec::new(),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_source: 2_000,
            requests_per_second: 50,
            requests_at_once: 500,
            frames_per_second: 100,
            frames_at_once: 500,
        }
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { keep_days: 90 }
    }
}

/// IPv4 as well, where the system maps it.
const fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `Config::load` says of a file with `text`, without the file's directory.
    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("broker-{}-{}.toml", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let loaded = Config::load(&path, environment);
        std::fs::remove_file(&path).unwrap();
        loaded.map_err(|error| error.to_string().replace(&path.display().to_string(), "broker.toml"))
    }

    #[test]
    fn the_documented_settings_are_the_defaults() {
        let documented: Config = toml::from_str(Config::DOCUMENTED).unwrap();
        assert_eq!(documented, Config::default());
        // With every example in the place of the default above it, each line is still understood.
        let named = |line: &str| line.split_once(" = ").map(|(key, _)| key.to_owned());
        let examples = Config::DOCUMENTED.lines().filter_map(|line| line.strip_prefix("#: "));
        let replaced: Vec<_> = examples.map(named).collect();
        let all: Vec<&str> = Config::DOCUMENTED
            .lines()
            .filter(|line| named(line).is_none() || line.starts_with('#') || !replaced.contains(&named(line)))
            .map(|line| line.strip_prefix("#: ").unwrap_or(line))
            .collect();
        let mut config: Config = toml::from_str(&all.join("\n")).unwrap();
        assert!(config.origin.is_some() && config.tls.key.is_some() && config.gateways.name.is_some());
        config.identity.provider = Provider::External; // what the examples of an issuer are for
        assert_eq!(config.contradiction(), None);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_what_is_accepted() {
        let good = "origin = \"https://acme.example\"\n";
        let rows = [
            ("orgin = \"x\"", "broker.toml:1:1: unknown field `orgin`, expected one of `origin`, `listen`"),
            ("origin = \"acme.example\"", "broker.toml:1:10: `acme.example` is not an HTTPS origin"),
            (
                "\n[identity]\nprovider = \"mine\"",
                "broker.toml:3:12: unknown variant `mine`, expected `own` or",
            ),
            ("[organisation]\ntier = 4", "broker.toml:2:8: `4` is not a tier from 0 to 3"),
            ("[limits]\nconnections = -1", "broker.toml:2:15: invalid value"),
            ("listen = \"x\"", "broker.toml:1:10: invalid type: string \"x\", expected a sequence"),
            ("[gateways]\nname = \"a b\"", "broker.toml:2:8: `a b` is not a name or an address"),
            ("", "broker.toml: `origin` is missing: an HTTPS origin such as"),
            ("listen = []", "broker.toml: `listen` holds one address at least"),
            ("[tls]\nkey = \"a\"", "broker.toml: `tls.certificate` and `tls.key` go together"),
            ("[gateways]\nname = \"a.example\"", "broker.toml: `gateways.name` ends with a port"),
            ("[identity]\nprovider = \"external\"", "broker.toml: `identity.issuer` is set for an external"),
            ("[identity]\nissuer = \"https://x\"", "broker.toml: `identity.issuer` is set for an external"),
            ("[identity]\nscopes = []", "broker.toml: `identity.scopes` holds \"openid\""),
            (
                "[identity]\nredirects = [\"http://a.example/\"]",
                "broker.toml: `identity.redirects`: `http://a",
            ),
            ("[organisation]\nlease_ttl_s = 301", "broker.toml: `organisation.lease_ttl_s` is 5 to 300"),
            ("[limits]\nrequests_at_once = 0", "broker.toml: `limits` are 1 at least"),
        ];
        for (text, expected) in rows {
            let text =
                if text.starts_with("or") || text.is_empty() { text.into() } else { format!("{good}{text}") };
            let place =
                |line: u32, text: &str| text.replacen(&format!(":{}:", line + 1), &format!(":{line}:"), 1);
            let error = load(&text, &[]).unwrap_err();
            let error = (1..4)
                .fold(error, |error, line| if text.starts_with(good) { place(line, &error) } else { error });
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_environment_has_the_last_word() {
        let text = "origin = \"https://acme.example\"\n[organisation]\nlease_ttl_s = 60\n";
        let variables = [
            ("OPENZTNA_BROKER_STATE_DIR", "/srv/broker"),
            ("OPENZTNA_BROKER_ORGANISATION__LEASE_TTL_S", "10"),
            ("OPENZTNA_BROKER_LISTEN", "[\"127.0.0.1:4433\"]"),
        ];
        let config = load(text, &variables).unwrap();
        assert_eq!(config.organisation.lease_ttl_s, 10);
        assert_eq!(config.admin_socket(), PathBuf::from("/srv/broker/admin.sock"));
        assert_eq!(config.listen, ["127.0.0.1:4433".parse().unwrap()]);
        let error = load(text, &[("OPENZTNA_BROKER_ORGANISATION__LEASE_TTL", "10")]).unwrap_err();
        assert!(
            error.contains("OPENZTNA_BROKER_ORGANISATION__LEASE_TTL") && error.contains("lease_ttl_s"),
            "{error}"
        );
    }

    #[test]
    fn names_of_listeners_and_certificates() {
        let mut config = Config { origin: Some("https://[::1]:4433".parse().unwrap()), ..Config::default() };
        let origin = config.origin.clone().unwrap();
        assert_eq!(config.gateways_name(&origin, 8443).unwrap().to_string(), "[::1]:8443");
        assert_eq!(config.server_names(&origin), ["::1".parse().unwrap()]);
        config.gateways.name = Some("gw.acme.example:443".parse().unwrap());
        assert_eq!(config.gateways_name(&origin, 8443).unwrap().to_string(), "gw.acme.example:443");
        assert_eq!(
            config.server_names(&origin),
            ["::1".parse().unwrap(), "gw.acme.example".parse().unwrap()]
        );
    }

    #[test]
    fn a_new_organisation_begins_with_what_is_said_here() {
        let config =
            OrganisationConfig { tier: Tier::Unproven, simulated: true, ..OrganisationConfig::default() };
        let settings = config.settings();
        let requirements = serde_json::Value::Object(settings.requirements.clone());
        let requirements: ztna_posture::Requirements = serde_json::from_value(requirements).unwrap();
        assert_eq!((requirements.tier, requirements.simulated), (Tier::Unproven, true));
        assert_eq!(settings.lease_ttl_s, Settings::default().lease_ttl_s);
    }

    #[test]
    fn what_an_organisation_does_not_begin_with_any_more_is_named() {
        let begun = OrganisationConfig { tier: Tier::Unproven, ..OrganisationConfig::default() };
        let settings = Settings { lease_ttl_s: 60, ..begun.settings() };
        assert_eq!(begun.without_effect(&settings), Vec::<String>::new());
        let edited = OrganisationConfig { title: "Acme".into(), tier: Tier::Hardware, ..begun };
        assert_eq!(edited.without_effect(&settings), ["title", "tier"]);
        let edited = OrganisationConfig { lease_ttl_s: 60, ..OrganisationConfig::default() };
        assert_eq!(edited.without_effect(&settings), Vec::<String>::new());
    }
}
