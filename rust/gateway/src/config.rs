use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;
use ztna_gate::{Reach, ReachEntry};
use ztna_model::{Cidr, GatewayId, OrgString, has_forbidden_target};
use ztna_net::settings::{self, LogConfig, SettingsError};
use ztna_net::udp::Bind;

/// A gateway's settings, as `gateway.toml` gives them. [`Config::DOCUMENTED`] explains each.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The organisation.
    pub org: Option<OrgString>,
    /// Where key and certificate are kept.
    pub state_dir: PathBuf,
    /// Where it may go at all.
    pub reach: Reach,
    /// How packets go on.
    pub forwarding: ForwardingMode,
    /// The device through which the kernel forwards.
    pub tun: TunnelledConfig,
    /// The socket that carries WireGuard.
    pub udp: UdpConfig,
    /// How much there may be.
    pub limits: LimitsConfig,
    /// Leases from a signed file.
    pub leases: LeasesConfig,
    /// What is logged, for whoever sets up logging.
    pub log: LogConfig,
}

/// How packets go on to the site.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardingMode {
    /// By sockets of this process: no privilege needed.
    #[default]
    Userspace,
    /// By the kernel, through a TUN device.
    Tun,
}

/// The device through which the kernel forwards.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TunnelledConfig {
    /// Its name.
    pub device: String,
    /// From which range peers have their addresses there.
    pub peers_v4: Cidr,
    /// The same for IPv6.
    pub peers_v6: Cidr,
}

/// The socket that carries WireGuard.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UdpConfig {
    /// On which addresses.
    pub bind: Bind,
    /// On which port; 0 for any.
    pub port: u16,
    /// Where devices can send datagrams to it, best first, instead of what this machine finds out by itself.
    pub advertise: Vec<SocketAddr>,
}

/// How much there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Leases.
    pub leases: u32,
    /// Flows.
    pub flows: u32,
    /// Flows of one device.
    pub flows_per_device: u32,
    /// What the buffers of all flows come to, in MiB.
    pub buffers_mib: usize,
}

/// Leases from a signed file, instead of a broker's stream.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeasesConfig {
    /// The file.
    pub file: Option<PathBuf>,
    /// This gateway's name in them.
    pub gateway: Option<GatewayId>,
}

/// Why a gateway's settings cannot be used.
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
        what: &'static str,
    },
}

impl Config {
    /// Every setting with its default and what it means: what `--print-default-config` prints.
    pub const DOCUMENTED: &'static str = include_str!("gateway.toml");

    /// The settings in the file at `path`, with `OPENZTNA_GATEWAY_…` from `environment` above them.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let config: Self = settings::load(path, "OPENZTNA_GATEWAY", environment)?;
        match config.contradiction() {
            Some(what) => Err(ConfigError::Contradiction { path: path.into(), what }),
            None => Ok(config),
        }
    }

    /// What does not fit together, and what would be right.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        let LimitsConfig { leases, flows, flows_per_device, buffers_mib } = self.limits;
        let root = self.org.as_ref().and_then(|org| org.root);
        if leases == 0 || flows == 0 || flows_per_device == 0 || buffers_mib == 0 {
            Some("`limits` are 1 at least")
        } else if leases > MOST_LEASES || flows > MOST_FLOWS {
            Some("`limits.leases` is 100000 at most, `limits.flows` 200000")
        } else if flows_per_device > flows {
            Some("`limits.flows_per_device` is above `limits.flows`")
        } else if self.udp.advertise.len() > MOST_CARRIERS {
            Some("`udp.advertise` holds 8 addresses at most")
        } else if self.udp.advertise.iter().any(|at| at.port() == 0 || at.ip().is_unspecified()) {
            Some("`udp.advertise` holds addresses with a port")
        } else if self.leases.file.is_some() && (self.leases.gateway.is_none() || root.is_none()) {
            Some("`leases.file` needs `leases.gateway`, and `org` with the hash of the root key")
        } else {
            self.forwarding_contradiction()
        }
    }

    fn forwarding_contradiction(&self) -> Option<&'static str> {
        let TunnelledConfig { device, peers_v4, peers_v6 } = &self.tun;
        let overlaps = |entry: &ReachEntry| match entry {
            ReachEntry::Prefix(prefix) => prefix.overlaps(peers_v4) || prefix.overlaps(peers_v6),
            ReachEntry::Exact(exact) => peers_v4.contains(exact.ip()) || peers_v6.contains(exact.ip()),
            ReachEntry::Name(_) => false,
        };
        if self.forwarding == ForwardingMode::Userspace {
            None
        } else if !peers_v4.first().is_ipv4() || !(8..=28).contains(&peers_v4.length()) {
            Some("`tun.peers_v4` is an IPv4 prefix of 8 to 28 bits")
        } else if !peers_v6.first().is_ipv6() || !(48..=124).contains(&peers_v6.length()) {
            Some("`tun.peers_v6` is an IPv6 prefix of 48 to 124 bits")
        } else if has_forbidden_target(peers_v4) || has_forbidden_target(peers_v6) {
            Some("`tun.peers_v4` and `tun.peers_v6` hold no addresses with a meaning of their own")
        } else if self.reach.entries().iter().any(overlaps) {
            Some("`reach` and the ranges of `tun` have no addresses in common")
        } else if device.contains('%') {
            Some("`tun.device` is the name of one device")
        } else {
            None
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            org: None,
            state_dir: PathBuf::from("/var/lib/openztna/gateway"),
            reach: Reach::default(),
            forwarding: ForwardingMode::default(),
            tun: TunnelledConfig::default(),
            udp: UdpConfig::default(),
            limits: LimitsConfig::default(),
            leases: LeasesConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl Default for TunnelledConfig {
    fn default() -> Self {
        let v4 = Cidr::new(Ipv4Addr::new(100, 64, 0, 0).into(), 16);
        let v6 = Cidr::new(Ipv6Addr::new(0xfd6f, 0x7a74, 0x6e61, 0, 0, 0, 0, 0).into(), 112);
        let none = |address| Cidr::host(address);
        Self {
            device: "openztna-gw".to_owned(),
            // Neither has host bits.
            peers_v4: v4.unwrap_or_else(|| none(Ipv4Addr::UNSPECIFIED.into())),
            peers_v6: v6.unwrap_or_else(|| none(Ipv6Addr::UNSPECIFIED.into())),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { leases: 16_384, flows: 16_384, flows_per_device: 4_096, buffers_mib: 1_024 }
    }
}

/// What the broker is told at most.
pub(crate) const MOST_CARRIERS: usize = 8;
/// The flow table takes its room when the gateway starts.
const MOST_LEASES: u32 = 100_000;
const MOST_FLOWS: u32 = 200_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn the_documented_settings_are_the_defaults() {
        let documented: Config = toml::from_str(Config::DOCUMENTED).unwrap();
        assert_eq!(documented, Config::default());
        // With every example in the place of the default above it, each line is still understood.
        let key = |line: &str| line.split_once(" = ").map(|(key, _)| key.to_owned());
        let examples = Config::DOCUMENTED.lines().filter_map(|line| line.strip_prefix("#: "));
        let replaced: Vec<Option<String>> = examples.map(key).collect();
        let stays =
            |line: &&str| line.starts_with('#') || key(line).is_none() || !replaced.contains(&key(line));
        let all: Vec<&str> = Config::DOCUMENTED
            .lines()
            .filter(stays)
            .map(|line| line.strip_prefix("#: ").unwrap_or(line))
            .collect();
        let config: Config = toml::from_str(&all.join("\n")).unwrap();
        assert!(config.org.is_some() && config.leases.file.is_some() && config.udp.advertise.len() == 2);
        assert_eq!(config.contradiction(), None);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let dir = TempDir::new();
        let path = dir.path("gateway.toml");
        let rows = [
            ("reech = []", ":1:1: unknown field `reech`, expected one of"),
            ("\nreach = [\"10.0.0.1/8\"]", ":2:9: `10.0.0.1/8` is not a prefix, a name"),
            ("[udp]\nbind = \"any\"", ":2:8: unknown variant `any`, expected one of `dual`, `v4`"),
            ("[limits]\nflows = 0", ": `limits` are 1 at least"),
            ("forwarding = \"kernel\"", ":1:14: unknown variant `kernel`, expected `userspace` or `tun`"),
            (
                "forwarding = \"tun\"\nreach = [\"100.64.3.0/24\"]",
                ": `reach` and the ranges of `tun` have no addresses in common",
            ),
            ("forwarding = \"tun\"\nreach = [\"[fd6f:7a74:6e61::1]:80\"]", ": `reach` and the ranges"),
            ("forwarding = \"tun\"\n[tun]\npeers_v4 = \"fd00::/112\"", ": `tun.peers_v4` is an IPv4 prefix"),
            (
                "forwarding = \"tun\"\n[tun]\npeers_v4 = \"127.0.0.0/16\"",
                ": `tun.peers_v4` and `tun.peers_v6`",
            ),
            ("[leases]\nfile = \"a\"", ": `leases.file` needs `leases.gateway`"),
            ("[udp]\nadvertise = [\"10.0.0.1:0\"]", ": `udp.advertise` holds addresses with a port"),
        ];
        for (text, expected) in rows {
            std::fs::write(&path, text).unwrap();
            let error = Config::load(&path, []).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_environment_has_the_last_word() {
        let dir = TempDir::new();
        let path = dir.path("gateway.toml");
        std::fs::write(&path, "reach = [\"10.0.0.0/8\"]").unwrap();
        let variables =
            [("OPENZTNA_GATEWAY_REACH", "[\"wiki.internal\"]"), ("OPENZTNA_GATEWAY_UDP__PORT", "4000")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::load(&path, variables).unwrap();
        assert_eq!(config.reach, Reach::new(vec!["wiki.internal".parse().unwrap()]));
        assert_eq!(config.udp.port, 4000);
    }
}
