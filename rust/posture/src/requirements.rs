use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ztna_model::{FactKind, Tier, secs};

use crate::release::Release;

/// What an organisation asks of its devices: a threshold for each fact that needs one, and what evidence
/// counts.
///
/// Which facts a resource needs is for policies to say; this says when a fact passes. Read from TOML or JSON,
/// where every key may be left out and an unknown one is an error:
///
/// ```toml
/// tier = 1
/// simulated = false
/// max_age_s = 43200
/// patch_age_days = 30
/// clock_skew_s = 120
/// releases = ["debian 13 until 2030-06-30", "fedora", "arch"]
///
/// [max_age_s_of]
/// debugger_attached = 900
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Requirements {
    /// The weakest evidence that counts; facts below it are unknown. Default 1: an app that hardware has
    /// proven.
    pub tier: Tier,
    /// Whether made-up readings count. Default false: only demonstrations and tests want them.
    pub simulated: bool,
    /// How old a fact may be, in seconds. Default 12 hours.
    pub max_age_s: u64,
    /// The most days since the last update. Default 30.
    pub patch_age_days: u32,
    /// The most seconds a clock may be off, either way. Default 120.
    pub clock_skew_s: u32,
    /// The systems that are supported. Default: those whose maker repaired them when this version was made.
    pub releases: Vec<Release>,
    /// Other limits than `max_age_s`, in seconds, for single facts. Default none.
    pub max_age_s_of: BTreeMap<FactKind, u64>,
}

// A default is a decision. Each one here errs on the side of denial, and a fresh organisation can live with
// it.
impl Default for Requirements {
    fn default() -> Self {
        Self {
            tier: Tier::ProvenApp,
            simulated: false,
            max_age_s: 12 * 60 * 60,
            patch_age_days: 30,
            clock_skew_s: 120,
            releases: RELEASES.iter().filter_map(|text| text.parse().ok()).collect(),
            max_age_s_of: BTreeMap::new(),
        }
    }
}

impl Requirements {
    /// How long a fact of this kind holds.
    pub fn max_age(&self, kind: FactKind) -> Duration {
        secs(self.max_age_s_of.get(&kind).copied().unwrap_or(self.max_age_s))
    }

    /// How long all facts hold. A device sends them again at half of it.
    pub fn shortest_max_age(&self) -> Duration {
        FactKind::ALL.into_iter().map(|kind| self.max_age(kind)).min().unwrap_or_default()
    }
}

/// Systems that people work on. A date is the end of free security updates; where none is given, the device's
/// own os-release(5) may name one (`SUPPORT_END`), and a rolling system has none.
const RELEASES: [&str; 17] = [
    "almalinux 9 until 2032-05-31",
    "almalinux 10 until 2035-05-31",
    "arch",
    "centos 9 until 2027-05-31",
    "centos 10 until 2030-05-31",
    "debian 12 until 2028-06-30",
    "debian 13 until 2030-06-30",
    "fedora",
    "linuxmint 22 until 2029-04-30",
    "opensuse-tumbleweed",
    "rhel 9 until 2032-05-31",
    "rhel 10 until 2035-05-31",
    "rocky 9 until 2032-05-31",
    "rocky 10 until 2035-05-31",
    "ubuntu 22.04 until 2027-06-01",
    "ubuntu 24.04 until 2029-05-31",
    "ubuntu 26.04 until 2031-05-29",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_may_be_partial_and_round_trips() {
        let text = "tier = 0\nreleases = ['debian 13']\n[max_age_s_of]\ndebugger_attached = 900\n";
        let requirements: Requirements = toml::from_str(text).unwrap();
        assert_eq!(requirements.tier, Tier::Unproven);
        assert_eq!(requirements.patch_age_days, 30);
        assert_eq!(requirements.max_age(FactKind::DebuggerAttached), secs(900));
        assert_eq!(requirements.max_age(FactKind::Tpm), secs(43_200));
        assert_eq!(requirements.shortest_max_age(), secs(900));

        let toml = toml::to_string(&requirements).unwrap();
        assert_eq!(toml::from_str::<Requirements>(&toml).unwrap(), requirements);
        let json = serde_json::to_string(&requirements).unwrap();
        assert_eq!(serde_json::from_str::<Requirements>(&json).unwrap(), requirements);
    }

    #[test]
    fn documents_that_are_refused_say_what_is_wrong() {
        let rows = [
            ("patch_age = 30", "unknown field `patch_age`"),
            ("tier = 4", "a tier from 0 to 3"),
            ("clock_skew_s = -1", "-1"),
            ("releases = ['Debian 13']", "`Debian 13` is not"),
            ("[max_age_s_of]\ndisk = 1", "unknown variant `disk`"),
        ];
        for (text, expected) in rows {
            let error = toml::from_str::<Requirements>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn every_default_release_is_well_written() {
        assert_eq!(Requirements::default().releases.len(), RELEASES.len());
    }
}
