//! What the machine does for the tunnel: routes, names, and everything as before afterwards.

#[expect(clippy::disallowed_types, reason = "zbus writes a hash map of its own into what it derives")]
mod resolve1; // systemd-resolved, as far as it is asked

use std::path::Path;
use std::process::Command;

use ztna_connector::system::{Applied, Bypass, DnsPath, Places, System};
use ztna_session::Network;

use crate::lab::{Sandbox, call, sandbox};
use resolve1::Resolve1;

/// A laptop in a network of its own, with a device for the tunnel.
fn laptop() {
    for command in [
        "link add eth0 type veth peer name far0",
        "link set far0 up",
        "link set eth0 up",
        "addr add 192.168.1.7/24 dev eth0",
        "addr add 2001:db8:1::7/64 dev eth0 nodad",
        "route add default via 192.168.1.1",
        "-6 route add default via 2001:db8:1::1",
        "tuntap add mode tun dev ztna0",
    ] {
        ip(command);
    }
    std::fs::create_dir("/run/state").unwrap();
    call("chmod", &["700", "/run/state"], "");
    std::fs::write("/etc/nsswitch.conf", "hosts: files dns\n").unwrap();
    resolv_conf(ORIGINAL);
}

fn ip(command: &str) -> String {
    call("ip", &command.split_whitespace().collect::<Vec<_>>(), "")
}

/// The machine's resolv.conf is a file, whatever it was.
fn resolv_conf(text: &str) {
    let _ = std::fs::remove_file("/etc/resolv.conf"); // there may be none
    std::fs::write("/etc/resolv.conf", text).unwrap();
}

fn resolvers() -> String {
    std::fs::read_to_string("/etc/resolv.conf").unwrap()
}

async fn open() -> System {
    open_at(&Places::default()).await
}

async fn open_at(places: &Places) -> System {
    System::open("ztna0", Path::new(STATE), places).await.unwrap()
}

/// Stand-ins, the resolver, and what is added.
fn wish(more: &[&str], domains: &[&str]) -> Network {
    let always = ["198.18.0.0/16", "2001:2:0:1::/64", "198.19.0.53", "2001:2::35"];
    let routes = always.iter().chain(more).map(|to| to.parse().unwrap()).collect();
    Network { routes, domains: domains.iter().map(|name| name.parse().unwrap()).collect() }
}

/// Everything that could be left behind: rules, routes, addresses of other devices than the tunnel's, resolvers.
fn state() -> String {
    let lists = ["rule", "-6 rule", "route show table all", "-6 route show table all", "addr show eth0"];
    let lists = lists.map(ip).concat();
    let ours = lists
        .lines()
        .filter(|line| !line.contains(" dev ztna0 table local") && !line.contains("dev ztna0 proto kernel"));
    let ours: Vec<&str> = ours.filter(|line| !line.contains("valid_lft")).collect();
    let files: Vec<String> =
        std::fs::read_dir(STATE).unwrap().map(|file| format!("{:?}", file.unwrap().path())).collect();
    format!("{}\n{files:?}\n{}", ours.join("\n"), resolvers())
}

fn leads_into_tunnel(to: &str) -> bool {
    ip(&format!("route get {to}")).contains("dev ztna0")
}

#[test]
fn what_is_wished_for_leads_into_the_tunnel_and_nothing_else_and_afterwards_all_is_as_before() {
    sandbox(|_| async {
        laptop();
        let before = state();
        let mut system = open().await;
        assert_eq!(state().replace(" dev ztna0", ""), before, "nothing is routed yet");
        for _ in 0..2 {
            let applied =
                system.apply(&wish(&["10.1.0.0/16", "203.0.113.5", "2001:db8:7::/48"], &[])).await.unwrap();
            assert_eq!(applied, Applied::default());
            for inside in [
                "198.18.0.1",
                "198.18.255.9",
                "10.1.2.3",
                "203.0.113.5",
                "2001:2:0:1::7",
                "2001:db8:7::1",
                "198.19.0.53",
            ] {
                assert!(leads_into_tunnel(inside), "{inside}");
                let source = if inside.contains(':') { "src 2001:2::1" } else { "src 198.19.0.1" };
                assert!(ip(&format!("route get {inside}")).contains(source), "{inside}");
            }
            for outside in
                ["192.0.2.1", "10.2.0.1", "203.0.113.6", "198.20.0.1", "2001:db8:8::1", "192.168.1.1"]
            {
                assert!(!leads_into_tunnel(outside), "{outside}");
            }
        }
        system.apply(&wish(&[], &[])).await.unwrap();
        assert!(!leads_into_tunnel("10.1.2.3") && leads_into_tunnel("198.18.0.1"));
        system.apply(&Network::default()).await.unwrap();
        assert!(!leads_into_tunnel("198.18.0.1"));
        system.apply(&wish(&["10.1.0.0/16"], &["work.example"])).await.unwrap();
        system.close().await.unwrap();
        assert_eq!(state(), before);
    });
}

#[test]
fn g05_routes_that_a_network_hands_out_do_not_lead_around_the_tunnel() {
    sandbox(|_| async {
        laptop();
        let mut system = open().await;
        let granted = ["10.1.0.0/16", "203.0.113.5", "2001:db8:7::/48"];
        system.apply(&wish(&granted, &[])).await.unwrap();
        // As DHCP's option 121 does it (TunnelVision), a router's announcements, and a network on our own ranges.
        for hostile in [
            "route add 10.1.2.0/24 via 192.168.1.1 proto dhcp",
            "route add 10.1.2.3/32 via 192.168.1.1 metric 0",
            "route add 203.0.113.5/32 dev eth0 scope link",
            "route add 198.18.0.0/17 via 192.168.1.1 proto dhcp",
            "route add 198.18.0.7/32 dev eth0 proto dhcp",
            "route add 0.0.0.0/1 via 192.168.1.1 proto dhcp",
            "addr add 198.18.0.200/24 dev eth0",
            "-6 route add 2001:db8:7::/64 via 2001:db8:1::1 proto ra",
            "-6 route add 2001:2:0:1::7/128 dev eth0 proto ra",
            "addr add 2001:2:0:1::200/64 dev eth0 nodad",
        ] {
            ip(hostile);
            for again in [false, true] {
                if again {
                    let applied = system.apply(&wish(&granted, &[])).await.unwrap();
                    assert_eq!(applied.clashes, [], "{hostile}");
                }
                for inside in
                    ["10.1.2.3", "203.0.113.5", "198.18.0.7", "198.18.0.1", "2001:db8:7::1", "2001:2:0:1::7"]
                {
                    assert!(leads_into_tunnel(inside), "{inside} after {hostile}");
                }
            }
        }
        system.close().await.unwrap();
    });
}

#[test]
fn p6_5_a_network_of_the_machine_s_own_keeps_its_addresses_and_that_is_told() {
    sandbox(|_| async {
        laptop();
        let mut system = open().await;
        let wish = wish(&["192.168.0.0/16", "192.168.1.9", "2001:db8:1::/64", "0.0.0.0/1"], &[]);
        let applied = system.apply(&wish).await.unwrap();
        let clashes: Vec<String> = applied
            .clashes
            .iter()
            .map(|clash| format!("{} {} {}", clash.granted, clash.own, clash.device))
            .collect();
        assert_eq!(
            clashes,
            [
                "192.168.0.0/16 192.168.1.0/24 eth0",
                "192.168.1.9/32 192.168.1.0/24 eth0",
                "2001:db8:1::/64 2001:db8:1::/64 eth0"
            ]
        );
        assert_eq!(applied.refused, ["0.0.0.0/1".parse().unwrap()]);
        assert!(leads_into_tunnel("192.168.2.1"));
        for own in ["192.168.1.9", "192.168.1.1", "2001:db8:1::1"] {
            assert!(!leads_into_tunnel(own), "{own}");
        }
        // In another network it is another question.
        ip("addr del 192.168.1.7/24 dev eth0");
        ip("addr add 10.9.0.7/24 dev eth0");
        ip("route add default via 10.9.0.1");
        let applied = system.apply(&wish).await.unwrap();
        assert_eq!(applied.clashes.len(), 1, "{applied:?}");
        assert!(leads_into_tunnel("192.168.1.9"));
        system.close().await.unwrap();
    });
}

#[test]
fn g05_the_connector_s_own_carriers_do_not_go_through_its_tunnel() {
    sandbox(|_| async {
        laptop();
        let mut system = open().await;
        system.apply(&wish(&["203.0.113.0/24"], &[])).await.unwrap();
        assert!(leads_into_tunnel("203.0.113.1"));
        let mark = ztna_connector::system::MARK;
        assert!(!leads_into_tunnel(&format!("203.0.113.1 mark {mark:#x}")));
        system.close().await.unwrap();
    });
}

#[test]
fn g05_a_tunnel_whose_device_is_gone_leads_nowhere_and_never_outside() {
    sandbox(|_| async {
        laptop();
        let before = state();
        let mut system = open().await;
        system.apply(&wish(&["10.1.0.0/16"], &[])).await.unwrap();
        ip("link del ztna0");
        for inside in ["198.18.0.1", "10.1.2.3", "2001:2:0:1::7"] {
            let found = Command::new("ip").args(["route", "get", inside]).output().unwrap();
            assert!(!found.status.success(), "{inside}: {}", String::from_utf8_lossy(&found.stdout));
        }
        system.close().await.unwrap();
        assert_eq!(state(), before);
    });
}

#[test]
fn a_machine_without_ipv6_has_a_tunnel_for_ipv4() {
    sandbox(|_| async {
        laptop();
        call(
            "sysctl",
            &["-q", "-w", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"],
            "",
        );
        let mut system = open().await;
        system.apply(&wish(&["2001:db8:7::/48"], &["work.example"])).await.unwrap();
        assert!(leads_into_tunnel("198.18.0.1"));
        system.close().await.unwrap();
    });
}

#[test]
fn a_strict_reverse_path_filter_lets_answers_in() {
    sandbox(|_| async {
        laptop();
        call("sysctl", &["-q", "-w", "net.ipv4.conf.all.rp_filter=1"], "");
        let mut system = open().await;
        system.apply(&wish(&["10.1.0.0/16"], &[])).await.unwrap();
        for from in ["198.18.0.7", "10.1.2.3", "198.19.0.53"] {
            let way = ip(&format!("route get 198.19.0.1 from {from} iif ztna0"));
            assert!(way.contains("local 198.19.0.1"), "{from}: {way}");
        }
        system.close().await.unwrap();
    });
}

#[test]
fn what_a_killed_process_has_left_is_undone_at_the_next_start() {
    sandbox(|sandbox| async move {
        if sandbox.part().is_some() {
            let mut system = open().await;
            system.apply(&wish(&["10.1.0.0/16"], &["work.example"])).await.unwrap();
            println!("applied");
            std::future::pending::<()>().await;
        }
        laptop();
        for mounted in [false, true] {
            if mounted {
                std::fs::write("/run/resolv.conf", ORIGINAL).unwrap();
                call("mount", &["--bind", "/run/resolv.conf", "/etc/resolv.conf"], "");
            }
            let before = state();
            killed_when_applied(
                &sandbox,
                "system::what_a_killed_process_has_left_is_undone_at_the_next_start",
            )
            .await;
            assert_eq!(resolvers().lines().filter(|line| line.starts_with("nameserver")).count(), 1);
            assert!(
                resolvers().contains("198.19.0.53") && ip("rule").contains("5000:"),
                "it was killed at work"
            );
            for _ in 0..2 {
                System::recover(Path::new(STATE), &Places::default()).unwrap();
                assert_eq!(state(), before, "mounted: {mounted}");
            }
        }
    });
}

async fn killed_when_applied(sandbox: &Sandbox, test: &str) {
    let mut child = sandbox.again(&[], test, "victim").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("applied")));
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
}

#[test]
fn one_at_a_time_looks_after_the_routes() {
    sandbox(|_| async {
        laptop();
        let mut first = open().await;
        first.apply(&wish(&[], &["work.example"])).await.unwrap();
        let during = state();
        let second = System::open("ztna0", Path::new("/run/other"), &Places::default()).await;
        assert!(matches!(second, Err(ztna_connector::system::SystemError::Busy)));
        System::recover(Path::new(STATE), &Places::default()).unwrap();
        assert_eq!(state(), during, "what is in use is not undone");
        first.close().await.unwrap();
    });
}

#[test]
fn by_a_file_all_questions_come_to_us_and_the_system_s_resolvers_are_known() {
    sandbox(|_| async {
        laptop();
        let mut system = open().await;
        let names = wish(&[], &["work.example"]);
        let applied = system.apply(&names).await.unwrap();
        assert_eq!((applied.dns, applied.bypasses), (DnsPath::ResolvConf, vec![]));
        assert!(resolvers().contains("\nnameserver 198.19.0.53\nsearch office.example\n"), "{}", resolvers());
        assert_eq!(
            system.upstreams(),
            ["192.168.1.1:53".parse().unwrap(), "[2001:db8:1::1]:53".parse().unwrap()]
        );
        // Another network, whose DHCP client writes its own.
        resolv_conf("nameserver 10.9.0.1\n");
        system.apply(&names).await.unwrap();
        assert!(resolvers().contains("nameserver 198.19.0.53"), "{}", resolvers());
        assert_eq!(system.upstreams(), ["10.9.0.1:53".parse().unwrap()]);
        // Nothing to ask for: the file is the machine's own.
        assert_eq!(system.apply(&wish(&[], &[])).await.unwrap().dns, DnsPath::Idle);
        assert_eq!((resolvers().as_str(), system.upstreams()), ("nameserver 10.9.0.1\n", vec![]));
        system.apply(&names).await.unwrap();
        resolv_conf("nameserver 10.9.0.2\n");
        system.close().await.unwrap();
        assert_eq!(resolvers(), "nameserver 10.9.0.2\n", "somebody else's stays");
    });
}

#[test]
fn a_link_gives_way_and_comes_back_and_a_closed_directory_is_told() {
    sandbox(|_| async {
        laptop();
        std::fs::create_dir("/run/manager").unwrap();
        std::fs::write("/run/manager/resolv.conf", "nameserver 192.168.1.2\n").unwrap();
        std::fs::remove_file("/etc/resolv.conf").unwrap();
        std::os::unix::fs::symlink("../run/manager/resolv.conf", "/etc/resolv.conf").unwrap();
        let mut system = open().await;
        system.apply(&wish(&[], &["work.example"])).await.unwrap();
        assert!(resolvers().contains("198.19.0.53"));
        assert_eq!(std::fs::read_to_string("/run/manager/resolv.conf").unwrap(), "nameserver 192.168.1.2\n");
        // Behind the link it goes on.
        std::fs::write("/run/manager/resolv.conf", "nameserver 192.168.1.3\n").unwrap();
        assert_eq!(system.upstreams(), ["192.168.1.3:53".parse().unwrap()]);
        system.close().await.unwrap();
        assert_eq!(std::fs::read_link("/etc/resolv.conf").unwrap(), Path::new("../run/manager/resolv.conf"));
        // Where nothing can be written, names are not found; all else is there.
        std::fs::remove_file("/etc/resolv.conf").unwrap();
        call("mount", &["-o", "remount,ro,bind", "/etc"], "");
        let mut system = open().await;
        let applied = system.apply(&wish(&[], &["work.example"])).await.unwrap();
        assert!(matches!(applied.dns, DnsPath::Failed { .. }), "{applied:?}");
        assert!(leads_into_tunnel("198.18.0.1"));
        system.close().await.unwrap();
    });
}

#[test]
fn systemd_resolved_is_told_of_our_names_and_of_no_others() {
    sandbox(|_| async {
        laptop();
        resolv_conf("nameserver 127.0.0.53\noptions edns0\n");
        let before = state();
        let resolve1 = Resolve1::start("no", true).await;
        let places = Places { bus: Some(resolve1.bus.clone()), ..Places::default() };
        let mut system = open_at(&places).await;
        let applied = system.apply(&wish(&[], &["work.example", "b.example"])).await.unwrap();
        assert_eq!((applied.dns, applied.bypasses), (DnsPath::Resolved, vec![]));
        assert_eq!(system.upstreams(), []);
        let link = ip("-o link show ztna0");
        let (index, _) = link.split_once(':').unwrap();
        let expected = [
            format!("SetLinkDefaultRoute {index} false"),
            format!("SetLinkLLMNR {index} no"),
            format!("SetLinkMulticastDNS {index} no"),
            format!("SetLinkDNSSEC {index} no"),
            format!("SetLinkDNSOverTLS {index} no"),
            format!("SetLinkDNS {index} 2 198.19.0.53"),
            format!("SetLinkDomains {index} ~work.example ~b.example"),
            "FlushCaches".into(),
        ];
        assert_eq!(resolve1.calls(), expected);
        system.close().await.unwrap();
        assert_eq!(resolve1.calls().last(), Some(&format!("RevertLink {index}")));
        assert_eq!(state(), before);
    });
}

/// As much of `resolvconf` as is called.
const RESOLVCONF: &str = r##"#!/bin/sh
echo "$@" >>/run/resolvconf.calls
case "$1" in
-a) { echo "# Generated by resolvconf"; cat; } >/etc/resolv.conf ;;
-f) printf '# Generated by resolvconf\nnameserver 192.168.1.1\n' >/etc/resolv.conf ;;
-l) printf '# resolv.conf from eth0\nnameserver 192.168.1.5\n# resolv.conf from tun.openztna\nnameserver 198.19.0.53\n' ;;
esac
"##;

#[test]
fn resolvconf_is_asked_where_it_writes_the_file() {
    sandbox(|_| async {
        laptop();
        std::fs::create_dir("/run/bin").unwrap();
        std::fs::write("/run/bin/resolvconf", RESOLVCONF).unwrap();
        call("chmod", &["755", "/run/bin/resolvconf"], "");
        let places = Places { programs: vec!["/run/bin".into()], ..Places::default() };
        resolv_conf("# Generated by resolvconf\nnameserver 192.168.1.1\n");
        let before = state();
        let mut system = open_at(&places).await;
        let applied = system.apply(&wish(&[], &["work.example"])).await.unwrap();
        assert_eq!(applied.dns, DnsPath::Resolvconf);
        assert_eq!(resolvers(), "# Generated by resolvconf\nnameserver 198.19.0.53\n");
        assert_eq!(system.upstreams(), ["192.168.1.5:53".parse().unwrap()]);
        let journal = std::fs::read("/run/state/system.json").unwrap();
        system.close().await.unwrap();
        assert_eq!(state(), before);
        // As a process that was killed leaves it.
        std::fs::write("/run/state/system.json", journal).unwrap();
        call("chmod", &["600", "/run/state/system.json"], "");
        System::recover(Path::new(STATE), &places).unwrap();
        assert_eq!(state(), before);
        let calls = std::fs::read_to_string("/run/resolvconf.calls").unwrap();
        let calls: Vec<&str> = calls.lines().collect();
        assert_eq!(calls, ["-a tun.openztna -m 0 -x", "-l", "-f -d tun.openztna", "-f -d tun.openztna"]);
    });
}

#[test]
fn g06_what_hides_names_from_programs_is_told_with_its_remedy() {
    sandbox(|_| async {
        laptop();
        std::fs::write("/etc/nsswitch.conf", "hosts: files resolve\n").unwrap();
        // Strict about TLS, and it lets nothing be an exception; and programs that read resolv.conf go elsewhere.
        let resolve1 = Resolve1::start("yes", false).await;
        let places = Places { bus: Some(resolve1.bus.clone()), ..Places::default() };
        let mut system = open_at(&places).await;
        let applied = system.apply(&wish(&[], &["work.example"])).await.unwrap();
        assert_eq!(applied.dns, DnsPath::Resolved);
        assert_eq!(applied.bypasses, [Bypass::StrictTls, Bypass::ResolvConfElsewhere]);
        system.close().await.unwrap();
        std::fs::write("/etc/nsswitch.conf", "hosts: files\n").unwrap();
        let mut system = open().await;
        let applied = system.apply(&wish(&[], &["work.example"])).await.unwrap();
        assert_eq!((applied.dns, applied.bypasses), (DnsPath::ResolvConf, vec![Bypass::NoDnsInNsswitch]));
        system.close().await.unwrap();
    });
}

const STATE: &str = "/run/state";
const ORIGINAL: &str = "# by hand\nnameserver 192.168.1.1\nnameserver 2001:db8:1::1\nsearch office.example\n";
