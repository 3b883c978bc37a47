use super::root::Root;
use super::seen::Seen;
use super::settings::Settings;

/// Whether something filters what comes in.
///
/// The kernel shows its rules to root only, so this asks the programs that set them. One that says yes is
/// enough; a no counts only where ufw says so itself and no other says yes.
pub(super) fn on(root: &Root) -> Seen {
    let ufw = root.text(UFW).ok().and_then(|text| Settings::parse(&text).switch("", "ENABLED"));
    if ufw == Some(true) {
        return Seen::flag(true, UFW);
    }
    if let Some(path) = FIREWALLD.into_iter().find(|path| root.text(path).is_ok_and(|text| !text.is_empty()))
    {
        return Seen::flag(true, path);
    }
    if NFTABLES_STARTS.iter().any(|path| root.has(path))
        && let Some(path) = NFTABLES.into_iter().find(|path| root.text(path).is_ok_and(|text| filters(&text)))
    {
        return Seen::flag(true, path);
    }
    match ufw {
        Some(_) => Seen::flag(false, UFW),
        None => Seen::unknown(HIDDEN, format!("{UFW}, firewalld.service, nftables.service")),
    }
}

/// Whether nftables' rules refuse anything that comes in. What they include from elsewhere is not followed.
fn filters(rules: &str) -> bool {
    let lines = || rules.lines().filter_map(|line| line.split('#').next());
    let words = || lines().flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    let incoming = words().zip(words().skip(1)).any(|pair| pair == ("hook", "input"));
    incoming && words().any(|word| matches!(word, "drop" | "reject"))
}

const HIDDEN: &str =
    "Only an administrator may see the kernel's rules, and no firewall that is known here says it is on.";
const UFW: &str = "/etc/ufw/ufw.conf";
/// The processes of the running service: with cgroups of version 2, and of version 1.
const FIREWALLD: [&str; 2] = [
    "/sys/fs/cgroup/system.slice/firewalld.service/cgroup.procs",
    "/sys/fs/cgroup/systemd/system.slice/firewalld.service/cgroup.procs",
];
/// The service loads its rules at the start of the machine and ends.
const NFTABLES_STARTS: [&str; 2] = [
    "/etc/systemd/system/sysinit.target.wants/nftables.service",
    "/etc/systemd/system/multi-user.target.wants/nftables.service",
];
const NFTABLES: [&str; 2] = ["/etc/nftables.conf", "/etc/sysconfig/nftables.conf"];

#[cfg(test)]
mod tests {
    use FactKind::Firewall;
    use proptest::prelude::*;
    use ztna_model::FactKind;

    use super::super::tree::Tree;
    use super::*;

    const RULES: &str = "#!/usr/sbin/nft -f\nflush ruleset\ntable inet filter {\n chain input {\n\
        type filter hook input priority filter; policy drop;\n ct state established accept\n }\n}\n";
    const EMPTY_RULES: &str =
        "table inet filter {\n chain input {\n type filter hook input priority filter;\n # drop\n }\n}\n";

    #[test]
    fn firewalls() {
        let ufw = |enabled| {
            Tree::new().file(UFW, format!("# /etc/ufw/ufw.conf\nENABLED={enabled}\nLOGLEVEL=low\n"))
        };
        ufw("yes").shows(Firewall, "yes");
        ufw("no").shows(Firewall, "no");
        let [v2, v1] = FIREWALLD;
        for path in [v1, v2] {
            Tree::new().file(path, "812\n").shows(Firewall, "yes");
            ufw("no").file(path, "812\n").shows(Firewall, "yes");
            Tree::new().file(path, "").shows(Firewall, "unknown: Only an administrator");
        }
        let [starts, _] = NFTABLES_STARTS;
        let [rules, _] = NFTABLES;
        let nftables = |text| Tree::new().file(rules, text);
        nftables(RULES).link(starts, "/lib/systemd/system/nftables.service").shows(Firewall, "yes");
        nftables(RULES).shows(Firewall, "unknown: Only an administrator"); // written, and never loaded
        nftables(EMPTY_RULES).link(starts, "/lib").shows(Firewall, "unknown: Only an administrator");
        Tree::new().shows(Firewall, "unknown: Only an administrator may see the kernel's rules");
    }

    proptest! {
        #[test]
        fn any_rules_are_read(text in "(\\PC|hook |input |drop |#|\n){0,40}") {
            prop_assert!(!filters(&text) || text.contains("input"));
        }
    }
}
