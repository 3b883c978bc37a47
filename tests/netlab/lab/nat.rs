/// How a router translates UDP (RFC 4787's terms in brackets), as near as nftables gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Nat {
    /// One port for each of the client's, open to everybody (endpoint-independent mapping and filtering).
    FullCone,
    /// One port for each of the client's, open to the hosts that the client has written to (address-dependent filtering).
    AddressRestricted,
    /// One port for each of the client's, open to exactly whom the client has written to (address and port-dependent
    /// filtering). What Linux does by itself as long as ports are free.
    PortRestricted,
    /// Another port for each conversation (address and port-dependent mapping and filtering).
    Symmetric,
}

impl Nat {
    /// The rules of a router between the devices `lan` and `wan`.
    pub(super) fn rules(self, lan: &str, wan: &str) -> String {
        let (remember, open, port) = match self {
            Self::FullCone => (MAP, "dnat to udp dport map @mapped", ""),
            Self::AddressRestricted => {
                (MAP_AND_HOST, "ip saddr . udp dport @written dnat to udp dport map @mapped", "")
            }
            Self::PortRestricted => ("", "", ""),
            Self::Symmetric => ("", "", "fully-random"),
        };
        let remember = if remember.is_empty() { String::new() } else { format!("iifname {lan} {remember}") };
        let open = if open.is_empty() { String::new() } else { format!("iifname {wan} {open}") };
        format!(
            "table ip nat {{
  map mapped {{ type inet_service : ipv4_addr; flags dynamic, timeout; size 1000; timeout 60s; }}
  set written {{ type ipv4_addr . inet_service; flags dynamic, timeout; size 1000; timeout 60s; }}
  chain remember {{ type filter hook forward priority 0; {remember}; }}
  chain in {{ type nat hook prerouting priority -100; {open}; }}
  chain out {{ type nat hook postrouting priority 100; oifname {wan} masquerade {port}; }}
}}
table ip closed {{
  chain forward {{ type filter hook forward priority 10; policy accept;
    iifname {wan} ct state established,related accept
    iifname {wan} ct status dnat accept
    iifname {wan} drop
  }}
}}
"
        )
    }
}

const MAP: &str = "meta l4proto udp update @mapped { udp sport : ip saddr }";
const MAP_AND_HOST: &str =
    "meta l4proto udp update @mapped { udp sport : ip saddr } update @written { ip daddr . udp sport }";
