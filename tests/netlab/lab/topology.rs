use super::namespace::{Namespace, wire};
use super::{Hop, Impairment, Leaks, Nat};

/// A client with two ways into the world, and whom it may want to reach there.
pub(crate) struct Lab {
    pub(crate) client: Namespace,
    /// Routers of the access networks.
    pub(crate) home: Namespace,
    pub(crate) mobile: Namespace,
    pub(crate) internet: Namespace,
    pub(crate) broker: Namespace,
    pub(crate) berlin: Namespace,
    pub(crate) tokyo: Namespace,
}

/// One of the client's ways into the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    Home,
    Mobile,
}

impl Access {
    /// The client's device.
    pub(crate) const fn device(self) -> &'static str {
        match self {
            Self::Home => "wifi0",
            Self::Mobile => "cell0",
        }
    }

    const fn prefix(self) -> (&'static str, &'static str) {
        match self {
            Self::Home => ("192.168.1", "2001:db8:a1:"),
            Self::Mobile => ("10.64.0", "2001:db8:a2:"),
        }
    }
}

impl Lab {
    /// Everything is up; the client is at home, with IPv4 alone.
    pub(crate) fn new(nat: Nat) -> Self {
        let [client, home, mobile, internet, broker, berlin, tokyo] =
            ["client", "home", "mobile", "internet", "broker", "berlin", "tokyo"].map(Namespace::new);
        let lab = Self { client, home, mobile, internet, broker, berlin, tokyo };
        lab.internet.set("net.ipv4.ip_forward", "1");
        lab.internet.set("net.ipv6.conf.all.forwarding", "1");
        let legs = [&lab.home, &lab.mobile, &lab.broker, &lab.berlin, &lab.tokyo];
        for (number, machine) in (1..).zip(legs) {
            lab.lead_out(number, machine);
        }
        for access in [Access::Home, Access::Mobile] {
            lab.let_in(access, nat);
        }
        lab.move_to(Access::Home);
        lab
    }

    /// The router of a way into the world.
    pub(crate) const fn router(&self, access: Access) -> &Namespace {
        match access {
            Access::Home => &self.home,
            Access::Mobile => &self.mobile,
        }
    }

    /// What has left the client that must not, over both ways.
    pub(crate) fn leaks(&self) -> Leaks {
        Leaks::at(&self.home) + Leaks::at(&self.mobile)
    }

    /// The client's other device goes off, and this one's network is the way into the world.
    pub(crate) fn move_to(&self, access: Access) {
        let other = if access == Access::Home { Access::Mobile } else { Access::Home };
        self.client.ip(&format!("link set {} down", other.device()));
        self.arrive(access);
    }

    /// The client gets what a network hands out: an address, and a way into the world.
    fn arrive(&self, access: Access) {
        let (device, (v4, _)) = (access.device(), access.prefix());
        self.client.ip(&format!("link set {device} up"));
        self.client.ip(&format!("addr replace {v4}.10/24 dev {device}"));
        self.client.ip(&format!("route replace default via {v4}.1 dev {device}"));
    }

    /// Where the client is, it has IPv6 as well.
    pub(crate) fn give_ipv6(&self, access: Access) {
        let (device, (_, v6)) = (access.device(), access.prefix());
        self.client.ip(&format!("addr replace {v6}:10/64 dev {device} nodad"));
        self.client.ip(&format!("-6 route replace default via {v6}:1 dev {device}"));
    }

    /// Where the client is, it has no IPv4.
    pub(crate) fn take_ipv4(&self, access: Access) {
        let (device, (v4, _)) = (access.device(), access.prefix());
        self.client.ip(&format!("addr del {v4}.10/24 dev {device}"));
    }

    /// The network forgets every conversation: what comes back finds nobody.
    pub(crate) fn forget_flows(&self, access: Access) {
        self.router(access).run("conntrack", &["-F"], "");
    }

    /// Between home and the internet things go wrong from here on.
    pub(crate) async fn impair(&self, impairment: Impairment) -> Hop {
        self.home.ip(&format!("link del {WAN}"));
        let hop = Hop::between((&self.home, WAN), (&self.internet, "leg1"), impairment).await;
        self.address(1, &self.home);
        self.internet.ip("-6 route replace 2001:db8:a1::/64 via 2001:db8:1::2");
        hop
    }

    /// Connects `machine` to the internet, as `203.0.113.(4 n - 2)` and `2001:db8:n::2`.
    fn lead_out(&self, number: u8, machine: &Namespace) {
        let leg = format!("leg{number}");
        wire((&self.internet, &leg), (machine, WAN));
        self.address(number, machine);
    }

    fn address(&self, number: u8, machine: &Namespace) {
        let leg = format!("leg{number}");
        let base = (number - 1) * 4;
        self.internet.ip(&format!("addr add 203.0.113.{}/30 dev {leg}", base + 1));
        self.internet.ip(&format!("addr add 2001:db8:{number}::1/64 dev {leg} nodad"));
        machine.ip(&format!("addr add 203.0.113.{}/30 dev {WAN}", base + 2));
        machine.ip(&format!("addr add 2001:db8:{number}::2/64 dev {WAN} nodad"));
        machine.ip(&format!("route add default via 203.0.113.{}", base + 1));
        machine.ip(&format!("-6 route add default via 2001:db8:{number}::1"));
    }

    /// Connects the client to a router that translates.
    fn let_in(&self, access: Access, nat: Nat) {
        let (router, (v4, v6)) = (self.router(access), access.prefix());
        wire((&self.client, access.device()), (router, LAN));
        router.ip(&format!("addr add {v4}.1/24 dev {LAN}"));
        router.ip(&format!("addr add {v6}:1/64 dev {LAN} nodad"));
        router.set("net.ipv4.ip_forward", "1");
        router.set("net.ipv6.conf.all.forwarding", "1");
        let leg = if access == Access::Home { 1 } else { 2 };
        self.internet.ip(&format!("-6 route add {v6}:/64 via 2001:db8:{leg}::2"));
        router.nft(&nat.rules(LAN, WAN));
        router.nft(&Leaks::rules(LAN));
    }
}

/// Where the first gateway is, in public.
pub(crate) const BERLIN: [&str; 2] = ["203.0.113.14", "2001:db8:4::2"];

const WAN: &str = "wan";
const LAN: &str = "lan";
