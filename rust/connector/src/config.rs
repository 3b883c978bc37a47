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
    /// Where keys and the session are kept.
    pub state_dir: PathBuf,
    /// What people call this device.
    pub device_name: String,
    /// The local proxy.
    pub proxy: ProxyConfig,
    /// The socket that carries WireGuard.
    pub udp: UdpConfig,
    /// Whom to trust besides the organisation.
    pub trust: TrustConfig,
    /// Where the device's facts come from.
    pub signals: SignalsConfig,
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
        settings::load(path, "OPENZTNA_CONNECTOR", environment)
    }
}

impl Default for Config {
    fn default() -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            org: None,
            state_dir: PathBuf::from("/var/lib/openztna/connector"),
            device_name: host,
            proxy: ProxyConfig::default(),
            udp: UdpConfig::default(),
            trust: TrustConfig::default(),
            signals: SignalsConfig::default(),
        }
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
        assert_eq!(documented, Config::default());
        // With every comment taken for a setting, each line is still understood.
        let all: String = Config::DOCUMENTED
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n");
        assert!(toml::from_str::<Config>(&all).is_ok(), "{all}");
    }
}
