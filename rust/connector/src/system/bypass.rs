use std::fmt;

use serde::{Deserialize, Serialize};
use ztna_model::DomainName;

/// Why programs on this machine may not find names of the organisation, although all is set up. The local proxy is a way
/// through for each.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bypass {
    /// systemd-resolved answers, but `resolv.conf` sends programs that ask for themselves elsewhere.
    ResolvConfElsewhere,
    /// systemd-resolved asks over TLS alone, and does not let the tunnel's device be an exception.
    StrictTls,
    /// The system's library asks neither DNS nor systemd-resolved for host names.
    NoDnsInNsswitch,
    /// Names that end in `.local` are looked for in the local network, and nowhere else.
    MulticastOnly,
}

impl Bypass {
    /// What would help.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::ResolvConfElsewhere => "link /etc/resolv.conf to /run/systemd/resolve/stub-resolv.conf",
            Self::StrictTls => "set DNSOverTLS=opportunistic in /etc/systemd/resolved.conf",
            Self::NoDnsInNsswitch => "add `dns` to the line `hosts:` of /etc/nsswitch.conf",
            Self::MulticastOnly => {
                "remove `mdns4_minimal [NOTFOUND=return]` from the line `hosts:` of /etc/nsswitch.conf"
            }
        }
    }
}

impl fmt::Display for Bypass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ResolvConfElsewhere => "programs that read /etc/resolv.conf do not ask systemd-resolved",
            Self::StrictTls => {
                "systemd-resolved asks over TLS alone, and the tunnel's resolver is no exception"
            }
            Self::NoDnsInNsswitch => "programs do not look up host names in DNS",
            Self::MulticastOnly => "names that end in .local are looked for in the local network alone",
        })
    }
}

/// What nsswitch.conf(5) says of host names, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct HostsLine {
    /// DNS is asked.
    pub(super) has_dns: bool,
    /// systemd-resolved is asked, whatever resolv.conf says.
    pub(super) has_resolve: bool,
    /// Names below `.local` don't get as far as DNS.
    is_local_multicast: bool,
}

impl HostsLine {
    pub(super) fn read(nsswitch: &str) -> Self {
        let line = nsswitch.lines().find_map(|line| line.trim_start().strip_prefix("hosts:"));
        // Without a line, and without a file, it is DNS and files.
        let line = line.map_or("dns files", |line| line.split('#').next().unwrap_or(line));
        let words: Vec<&str> = line.split_whitespace().collect();
        let first_of = |word: &str| words.iter().position(|found| *found == word);
        let dns = first_of("dns").or_else(|| first_of("resolve"));
        let multicast = words.iter().position(|word| word.starts_with("mdns") && word.ends_with("_minimal"));
        let ends_there =
            multicast.and_then(|at| words.get(at + 1)).is_some_and(|word| *word == "[NOTFOUND=return]");
        Self {
            has_dns: first_of("dns").is_some(),
            has_resolve: first_of("resolve").is_some(),
            is_local_multicast: ends_there && multicast < dns,
        }
    }

    /// What of it hides `domains`.
    pub(super) fn hides(&self, domains: &[DomainName]) -> impl Iterator<Item = Bypass> + use<> {
        let has_local = domains.iter().any(|domain| domain.labels().next_back() == Some("local"));
        let none =
            (!domains.is_empty() && !self.has_dns && !self.has_resolve).then_some(Bypass::NoDnsInNsswitch);
        none.into_iter().chain((has_local && self.is_local_multicast).then_some(Bypass::MulticastOnly))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_names() {
        let rows = [
            ("hosts: files dns", "work.example", &[][..]),
            ("passwd: files\n hosts:\tfiles resolve [!UNAVAIL=return] dns # all", "work.example", &[]),
            ("hosts: files myhostname", "work.example", &[Bypass::NoDnsInNsswitch]),
            ("hosts: files #dns", "work.example", &[Bypass::NoDnsInNsswitch]),
            ("passwd: files", "work.example", &[]),
            ("", "work.example", &[]),
            ("hosts: files mdns4_minimal [NOTFOUND=return] dns", "work.example", &[]),
            ("hosts: files mdns4_minimal [NOTFOUND=return] dns", "work.local", &[Bypass::MulticastOnly]),
            ("hosts: files dns mdns4_minimal [NOTFOUND=return]", "work.local", &[]),
            ("hosts: files mdns4_minimal dns", "work.local", &[]),
        ];
        for (text, domain, expected) in rows {
            let found: Vec<Bypass> = HostsLine::read(text).hides(&[domain.parse().unwrap()]).collect();
            assert_eq!(found, expected, "{text} for {domain}");
        }
        let nothing_asked = HostsLine::read("hosts: files").hides(&[]).count();
        assert_eq!(nothing_asked, 0);
    }
}
