//! What an administrator sets.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use ztna_model::OrgString;
use ztna_net::settings::{self, SettingsError};
use ztna_net::udp::Bind;

/// The connector's settings, as `connector.toml` gives them. [`Config::DOCUMENTED`] explains each.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The organisation to sign in to.
    pub org: Option<OrgString>,
    /// Where keys and the session are kept: by default [`default_state_dir`].
    pub state_dir: PathBuf,
    /// What people call this device.
    pub device_name: String,
    /// The device that applications' packets come through.
    pub tun: TunConfig,
    /// The local proxy.
    pub proxy: ProxyConfig,
    /// The socket that carries WireGuard.
    pub udp: UdpConfig,
    /// Whom to trust besides the organisation.
    pub trust: TrustConfig,
    /// Where the device's facts come from.
    pub signals: SignalsConfig,
}

/// The device that applications' packets come through.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TunConfig {
    /// Whether there is one; without it, applications use the local proxy.
    pub enabled: bool,
    /// Its name, 15 bytes at most; `%d` becomes the first free number.
    pub name: String,
    /// Whether the kernel may hand over packets uncut, where it can.
    pub offload: bool,
}

/// The local proxy.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyConfig {
    /// Where it listens: on this machine's loopback alone.
    pub listen: SocketAddr,
}

/// The socket that carries WireGuard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UdpConfig {
    /// On which addresses.
    pub bind: Bind,
}

/// Whom to trust besides the organisation.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrustConfig {
    /// PEM certificates that an external identity provider's TLS is checked against, instead of the system's.
    pub issuer_roots: Option<PathBuf>,
}

/// Where the device's facts come from.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignalsConfig {
    /// A file of made-up facts for a demonstration. They are marked as such on the wire.
    pub simulated: Option<PathBuf>,
}

impl Config {
    /// Every setting with its default and what it means: what `--print-default-config` prints.
    pub const DOCUMENTED: &'static str = include_str!("connector.toml");

    /// The settings in the file at `path`, with `OPENZTNA_CONNECTOR_…` from `environment` above them.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        settings::load(path, PREFIX, environment)
    }

    /// The settings where there is no file: the defaults, with `OPENZTNA_CONNECTOR_…` from `environment` above them.
    pub fn load_defaults(
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        settings::load_defaults(PREFIX, environment)
    }
}

const PREFIX: &str = "OPENZTNA_CONNECTOR";

impl Default for Config {
    fn default() -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            org: None,
            state_dir: default_state_dir(),
            device_name: host,
            tun: TunConfig::default(),
            proxy: ProxyConfig::default(),
            udp: UdpConfig::default(),
            trust: TrustConfig::default(),
            signals: SignalsConfig::default(),
        }
    }
}

/// `/var/lib/openztna/connector` for the machine's administrator, and a folder of their own for everybody else
/// (XDG Base Directory Specification 0.8).
pub fn default_state_dir() -> PathBuf {
    let is_root = rustix::process::geteuid().is_root();
    state_dir_of(is_root, |name| std::env::var_os(name).map(PathBuf::from))
}

fn state_dir_of(is_root: bool, variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let own = || {
        let named = variable("XDG_STATE_HOME").filter(|path| path.is_absolute());
        named.or_else(|| Some(variable("HOME")?.join(".local/state")))
    };
    let parent = if is_root { None } else { own() };
    parent.unwrap_or_else(|| PathBuf::from("/var/lib")).join("openztna/connector")
}

impl Default for TunConfig {
    fn default() -> Self {
        Self { enabled: true, name: "openztna%d".into(), offload: true }
    }
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 1080)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_settings_are_the_defaults() {
        let mut documented: Config = toml::from_str(Config::DOCUMENTED).unwrap();
        documented.device_name = Config::default().device_name;
        documented.state_dir = default_state_dir();
        assert_eq!(documented, Config::default());
        // With every comment taken for a setting, each line is still understood.
        let all: String = Config::DOCUMENTED
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n");
        assert!(toml::from_str::<Config>(&all).is_ok(), "{all}");
    }

    #[test]
    fn everybody_has_a_folder_of_their_own() {
        let (home, xdg) = (Some("/home/ana"), Some("/s"));
        let rows = [
            (true, Some("/root"), xdg, "/var/lib/openztna/connector"),
            (false, home, None, "/home/ana/.local/state/openztna/connector"),
            (false, home, xdg, "/s/openztna/connector"),
            (false, home, Some("s"), "/home/ana/.local/state/openztna/connector"),
            (false, None, None, "/var/lib/openztna/connector"),
        ];
        for (is_root, home, xdg, expected) in rows {
            let variable = |name: &str| match name {
                "HOME" => home.map(PathBuf::from),
                "XDG_STATE_HOME" => xdg.map(PathBuf::from),
                _ => None,
            };
            assert_eq!(state_dir_of(is_root, variable), Path::new(expected), "{is_root} {home:?} {xdg:?}");
        }
    }
}
