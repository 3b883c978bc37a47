//! What the kernel tells of links, addresses and routes, and what it takes from us.

use tokio::time::timeout;
use ztna_model::{millis, secs};
use ztna_net::link::{DeviceIndex, Family, LinkChange, LinkError, LinkWatch, Links, Route, Rule, Way};

use crate::lab::{Namespace, sandbox};

/// A machine with a wire to nowhere in particular.
fn machine() -> Namespace {
    let machine = Namespace::new("machine");
    machine.ip("link add eth0 type veth peer name far0");
    machine.ip("link set far0 up");
    machine.ip("link set eth0 up");
    machine
}

#[test]
fn what_changed_is_told_once() {
    sandbox(|_| async {
        let machine = machine();
        let watch = machine.within(async { LinkWatch::open(None).expect("no privilege is needed") }).await;
        let watch = std::sync::Arc::new(tokio::sync::Mutex::new(watch));
        let next = |within| {
            let watch = std::sync::Arc::clone(&watch);
            machine.within(async move {
                let mut watch = watch.lock().await;
                timeout(within, watch.next()).await.ok().map(|change| change.expect("it looks"))
            })
        };
        // Link-local addresses come when they like.
        while next(millis(1500)).await.is_some() {}
        let (links, addresses, defaults) = (true, true, true);
        let none = LinkChange::default();
        machine.ip("addr add 192.0.2.7/24 dev eth0");
        assert_eq!(next(secs(2)).await, Some(LinkChange { addresses, ..none }));
        machine.ip("route add default via 192.0.2.1");
        assert_eq!(next(secs(2)).await, Some(LinkChange { defaults, ..none }));
        machine.ip("route add 203.0.113.0/24 via 192.0.2.1");
        machine.ip("route replace default via 192.0.2.1");
        assert_eq!(next(millis(600)).await, None, "nothing that matters is different");
        machine.ip("link set eth0 down");
        let gone = next(secs(2)).await;
        assert_eq!(gone.map(|change| (change.links, change.defaults)), Some((links, defaults)));
    });
}

#[test]
fn g05_networks_that_are_handed_out_are_not_ones_own() {
    sandbox(|_| async {
        let machine = machine();
        machine.ip("addr add 192.0.2.7/24 dev eth0");
        machine.ip("addr add 2001:db8::7/64 dev eth0 nodad");
        machine.ip("addr add 203.0.113.1/32 dev eth0");
        // As DHCP's option 121 and a router's announcements hand them out.
        machine.ip("route add 10.0.0.0/8 dev eth0 scope link proto dhcp");
        machine.ip("route add 10.1.0.0/16 dev eth0 scope link proto kernel");
        machine.ip("-6 route add 2001:db8:1::/64 dev eth0 proto kernel");
        machine.ip("-6 route add 2001:db8:2::/64 dev eth0 proto ra");
        machine.ip("link add tun9 type veth peer name tun9far");
        machine.ip("link set tun9 up");
        machine.ip("addr add 198.19.0.1/16 dev tun9");
        let own = machine.within(async { Links::open().unwrap().own_networks("tun9").unwrap() }).await;
        let own: Vec<String> = own.iter().map(|own| format!("{} {}", own.prefix, own.device)).collect();
        assert_eq!(own, ["192.0.2.0/24 eth0", "2001:db8::/64 eth0"]);
    });
}

#[test]
fn routes_and_rules_are_put_and_removed_as_often_as_one_likes() {
    sandbox(|_| async {
        let machine = machine();
        let before = state(&machine);
        let device = machine.within(async { Links::open().unwrap().device("eth0").unwrap().unwrap() }).await;
        let routes = [
            route("198.18.0.0/16", Way::Device(device), 1),
            route("198.18.0.0/16", Way::Unreachable, 4096),
            route("10.1.0.0/16", Way::NextTable, 1),
            route("2001:2:0:1::/64", Way::Device(device), 1),
            route("2001:2:0:1::/64", Way::Unreachable, 4096),
            route("2001:db8::/48", Way::NextTable, 1),
        ];
        let rules = Family::ALL.map(|family| Rule { family, priority: 5000, table: 77, unless_mark: 9 });
        machine
            .within(async move {
                let mut links = Links::open().unwrap();
                for _ in 0..2 {
                    routes.iter().for_each(|route| links.put_route(77, route).unwrap());
                    rules.iter().for_each(|rule| links.put_rule(rule).unwrap());
                }
                let mut found = links.routes(77).unwrap();
                found.sort();
                let mut expected = routes.to_vec();
                expected.sort();
                assert_eq!(found, expected);
                assert_eq!(links.rules().unwrap(), rules);
                assert_eq!(links.device("none").unwrap(), None);
            })
            .await;
        assert!(
            machine.ip("rule").contains("5000:\tnot from all fwmark 0x9 lookup 77"),
            "{}",
            machine.ip("rule")
        );
        assert!(machine.ip("route get 198.18.0.7").contains("dev eth0"));
        machine
            .within(async move {
                let mut links = Links::open().unwrap();
                for _ in 0..2 {
                    routes.iter().for_each(|route| links.remove_route(77, route).unwrap());
                    rules.iter().for_each(|rule| links.remove_rule(rule).unwrap());
                }
            })
            .await;
        assert_eq!(state(&machine), before);
    });
}

fn route(to: &str, way: Way, metric: u32) -> Route {
    Route { to: to.parse().unwrap(), way, metric, source: None }
}

/// All rules and all routes.
fn state(machine: &Namespace) -> String {
    ["rule", "-6 rule", "route show table all", "-6 route show table all"]
        .map(|list| machine.ip(list))
        .concat()
}

#[test]
fn who_may_not_is_told_and_may_look() {
    sandbox(|sandbox| async move {
        let unreachable = route("198.18.0.0/16", Way::Unreachable, 1);
        if sandbox.part().is_some() {
            let mut links = Links::open().unwrap();
            assert!(links.device("lo").unwrap().is_some() && links.own_networks("none").is_ok());
            assert!(LinkWatch::open(None).is_ok() && links.rules().is_ok() && links.routes(77).is_ok());
            let refused = links.put_route(77, &unreachable);
            assert!(matches!(refused, Err(LinkError::NotAllowed)), "{refused:?}");
            return;
        }
        let test = "links::who_may_not_is_told_and_may_look";
        let weak = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"];
        let status = sandbox.again(&weak, test, "without the privilege").status().unwrap();
        assert!(status.success());
        let mut links = Links::open().unwrap();
        let none = route("10.0.0.0/8", Way::Device(DeviceIndex(9999)), 1);
        let missing = links.put_route(77, &none);
        assert!(matches!(missing, Err(LinkError::Missing)), "{missing:?}");
    });
}
