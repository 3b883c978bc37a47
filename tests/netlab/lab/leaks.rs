use std::ops::Add;

use serde_json::Value;

use super::Namespace;

/// What has left the client past the tunnel, in packets, as its access networks counted it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Leaks {
    /// Questions about names.
    pub(crate) dns: u64,
    /// IPv6 to anybody but whom this lab has given an address.
    pub(crate) ipv6: u64,
    /// To the tunnel's own ranges, of either family.
    pub(crate) ours: u64,
}

impl Leaks {
    /// Counters at a router's side towards the client.
    pub(super) fn rules(lan: &str) -> String {
        format!(
            "table inet leaks {{
  counter dns {{}}
  counter ipv6 {{}}
  counter ours {{}}
  chain seen {{ type filter hook prerouting priority -300; iifname != {lan} return
    meta l4proto {{ tcp, udp }} th dport {{ 53, 853, 5353, 5355 }} counter name dns
    ip6 daddr != {{ fe80::/10, ff00::/8, 2001:db8::/32 }} counter name ipv6
    ip daddr 198.18.0.0/15 counter name ours
    ip6 daddr 2001:2::/48 counter name ours
  }}
}}
"
        )
    }

    pub(super) fn at(router: &Namespace) -> Self {
        let listed = router.run("nft", &["-j", "list", "counters", "table", "inet", "leaks"], "");
        let listed: Value = serde_json::from_str(&listed).expect("nft lists in JSON");
        let count = |name: &str| {
            let entries = listed["nftables"].as_array().expect("a list").iter();
            let counter = entries.map(|entry| &entry["counter"]).find(|counter| counter["name"] == name);
            counter.and_then(|counter| counter["packets"].as_u64()).expect("it counts")
        };
        Self { dns: count("dns"), ipv6: count("ipv6"), ours: count("ours") }
    }

    pub(crate) const NONE: Self = Self { dns: 0, ipv6: 0, ours: 0 };
}

impl Add for Leaks {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { dns: self.dns + other.dns, ipv6: self.ipv6 + other.ipv6, ours: self.ours + other.ours }
    }
}
