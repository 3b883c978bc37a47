//! What the machine's network is to be like, and where packets go then.

use ztna_api::device::{Changed, Resources, Wanted};
use ztna_model::{
    Address, Decision, DenyReason, DomainName, Inner, Port, Protocol, Synthetic, Visible, secs,
};
use ztna_proxy::Verdict;

use super::desk::{Desk, denied, grant, granted, visible_at};
use super::position;
use crate::session::Dial;
use crate::{DialId, Network, Output, Saved};

impl Desk {
    /// The last wish, if there was one.
    fn wished(&mut self) -> Option<Network> {
        let wishes = self.take(|output| match output {
            Output::Network(network) => Some((**network).clone()),
            _ => None,
        });
        wishes.last().cloned()
    }

    fn resources(&mut self, suffixes: &[&str], visible: Vec<Visible>) {
        let suffixes = suffixes.iter().map(|suffix| suffix.parse().unwrap()).collect();
        self.frame(Resources { position: position(9), suffixes, visible });
    }
}

fn at(id: &str, address: &str, decision: Decision) -> Visible {
    let address = match address.parse() {
        Ok(cidr) => Address::Prefix(cidr),
        Err(_) => Address::Name(address.parse().unwrap()),
    };
    visible_at(id, address, decision)
}

fn routes(network: &Network) -> Vec<String> {
    network.routes.iter().map(ToString::to_string).collect()
}

fn domains(network: &Network) -> Vec<&str> {
    let named = network.domains.iter().map(DomainName::as_str);
    named.filter(|name| !name.ends_with(".arpa")).collect()
}

const ALWAYS: [&str; 4] = ["198.18.0.0/16", "198.19.0.53/32", "2001:2::35/128", "2001:2:0:1::/64"];

#[test]
fn p6_5_stand_ins_the_resolver_and_granted_addresses_are_routed_and_nothing_else() {
    let mut desk = Desk::connected(vec![]);
    let no = || Decision::denied(DenyReason::NotEntitled);
    desk.resources(
        &[],
        vec![
            granted("wiki"),
            at("plc", "10.1.2.3", Decision::Granted),
            at("lab", "10.7.0.0/16", no()),
            at("v6", "2001:db8:7::/64", Decision::Granted),
        ],
    );
    let network = desk.wished().expect("a wish");
    let mut expected = ALWAYS.to_vec();
    expected.insert(0, "10.1.2.3/32");
    expected.push("2001:db8:7::/64");
    assert_eq!(routes(&network), expected);
    assert_eq!(desk.session.snapshot().network, network, "it can be shown");
    // What is no longer granted is routed no longer.
    let visible = vec![at("plc", "10.1.2.3", no())];
    desk.frame(Changed { position: position(10), visible, gone: vec![], suffixes: None });
    assert!(!routes(&desk.wished().expect("another wish")).contains(&"10.1.2.3/32".into()));
    desk.frame(Changed { position: position(11), visible: vec![], gone: vec![], suffixes: None });
    assert_eq!(desk.wished(), None, "nothing is different");
}

#[test]
fn p6_6_the_resolver_is_asked_about_the_organisation_s_names_alone() {
    let mut desk = Desk::connected(vec![]);
    let visible = vec![
        at("crm", "crm.corp.example", Decision::Granted),
        at("wiki", "wiki.partner.example", Decision::Granted),
        at("apps", "*.apps.partner.example", Decision::Granted),
        at("one", "one.apps.partner.example", Decision::Granted),
    ];
    desk.resources(&["corp.example", "eu.corp.example", "internal"], visible);
    let network = desk.wished().expect("a wish");
    assert_eq!(
        domains(&network),
        ["corp.example", "apps.partner.example", "wiki.partner.example", "internal"]
    );
    let reverse: Vec<&str> =
        network.domains.iter().map(DomainName::as_str).filter(|name| name.ends_with(".arpa")).collect();
    assert_eq!(reverse, ztna_names::REVERSE_ZONES, "and about the addresses that stand in for them");
}

#[test]
fn f01_no_broker_takes_all_traffic_or_all_names() {
    let mut desk = Desk::connected(vec![]);
    let visible = vec![
        at("everything", "0.0.0.0/0", Decision::Granted),
        at("half", "128.0.0.0/2", Decision::Granted),
        at("everything-6", "::/0", Decision::Granted),
        at("internet-6", "2000::/3", Decision::Granted),
        at("self", "127.0.0.1", Decision::Granted),
        at("metadata", "169.254.169.254", Decision::Granted),
        at("other-stand-ins", "198.18.7.0/24", Decision::Granted),
        at("com", "**.com", Decision::Granted),
        at("top", "com", Decision::Granted),
    ];
    desk.resources(&["com", "arpa", "10.in-addr.arpa", "corp.example"], visible);
    assert_eq!(desk.wished(), None, "nothing of that makes a difference");
    let network = desk.session.snapshot().network;
    assert_eq!(routes(&network), ALWAYS);
    assert_eq!(domains(&network), ["corp.example"]);
    let many: Vec<String> = (0..1_000).map(|n| format!("n{n}.example")).collect();
    desk.resources(&many.iter().map(String::as_str).collect::<Vec<_>>(), vec![]);
    assert_eq!(domains(&desk.wished().unwrap()).len(), 32);
}

#[test]
fn p6_6_g06_names_stay_ours_while_the_broker_is_away_and_over_restarts() {
    let mut desk = Desk::connected(vec![at("crm", "crm.corp.example", Decision::Granted)]);
    desk.resources(&["corp.example"], vec![granted("wiki"), at("plc", "10.1.2.3", Decision::Granted)]);
    desk.drain();
    desk.session.handle_stream_closed(false, desk.now);
    assert_eq!(desk.wished(), None, "leases last");
    desk.pass(secs(300));
    let network = desk.wished().expect("leases are over");
    assert_eq!(
        (routes(&network), domains(&network)),
        (ALWAYS.map(String::from).to_vec(), vec!["corp.example"])
    );

    let saved = Saved::of(desk.session.account.as_ref().unwrap());
    let mut again = Desk::new();
    again.session.account =
        Some(Saved::read(&saved.write()).unwrap().into_account(desk.session.signer.clone()));
    again.session.connect(again.now);
    assert_eq!(domains(&again.wished().expect("at once")), ["corp.example"]);

    desk.session.disconnect();
    assert_eq!(desk.wished(), Some(Network::default()), "off is off");
}

#[test]
fn p6_2_a_flow_to_a_stand_in_is_one_to_the_name_and_keeps_its_address() {
    let mut desk = Desk::connected(vec![granted("wiki"), denied("payroll")]);
    let to = desk.synthetic("wiki.demo");
    desk.dial(1, &to.v6.to_string(), 443);
    let ask = desk.take_ask().expect("a request");
    assert!(
        matches!(&ask.wanted, Wanted::Name { name, synthetic } if name.as_str() == "wiki.demo" && *synthetic == to)
    );
    desk.frame(ztna_api::device::Granted { request: Some(ask.request), grant: grant("wiki", 1, &to) });
    assert_eq!(desk.dialled(1).map(|to| to.to_string()), Ok(format!("[{}]:443", to.v6)));
    desk.dial(2, &to.v4.to_string(), 443);
    assert_eq!(desk.dialled(2).map(|to| to.to_string()), Ok(format!("{}:443", to.v4)));
    desk.dial(3, "wiki.demo", 443);
    assert_eq!(desk.dialled(3).map(|to| to.to_string()), Ok(format!("{}:443", to.v4)));
    let payroll = desk.synthetic("payroll.demo");
    desk.dial(4, &payroll.v4.to_string(), 80);
    assert!(matches!(desk.dialled(4), Err(Verdict::Denied { reason: DenyReason::DeviceUnfit, .. })));
    let hidden = desk.synthetic("ledger.demo");
    for (id, address) in
        [(5, hidden.v4.to_string()), (6, "198.18.99.99".into()), (7, Inner::RESOLVER.v4.to_string())]
    {
        desk.dial(id, &address, 80);
        assert_eq!(desk.dialled(id), Err(Verdict::NOT_FOUND), "{address}");
    }
    desk.dial(8, &to.v4.to_string(), 22);
    assert_eq!(desk.dialled(8), Err(Verdict::NOT_FOUND), "another port is another application");
}

#[test]
fn p6_1_echo_and_datagrams_go_where_they_are_granted() {
    let mut ping = granted("wiki");
    (ping.protocol, ping.ports) = (Protocol::IcmpEcho, ztna_model::Ports::all());
    let mut desk = Desk::connected(vec![ping]);
    let to = desk.synthetic("wiki.demo");
    let dial = |desk: &mut Desk, dial| {
        let now = desk.now;
        desk.session.handle_dial(dial, now);
    };
    dial(&mut desk, Dial::echo(DialId(1), ztna_model::Host::Address(to.v6.into())));
    let ask = desk.take_ask().expect("a request");
    assert_eq!(ask.protocol, Protocol::IcmpEcho);
    let mut echo = grant("wiki", 1, &to);
    (echo.protocol, echo.ports) = (Protocol::IcmpEcho, ztna_model::Ports::all());
    desk.frame(ztna_api::device::Granted { request: Some(ask.request), grant: echo });
    assert_eq!(desk.dialled(1).map(|to| to.to_string()), Ok(format!("[{}]:0", to.v6)));
    let port = Port::new(80).unwrap();
    for (id, other) in [
        (2, Dial::udp(DialId(2), ztna_model::Host::Address(to.v4.into()), port)),
        (3, Dial::tcp(DialId(3), ztna_model::Host::Address(to.v4.into()), port)),
    ] {
        dial(&mut desk, other);
        assert_eq!(desk.dialled(id), Err(Verdict::NOT_FOUND));
    }
    let outside = Synthetic::from_index(77);
    dial(&mut desk, Dial::echo(DialId(4), ztna_model::Host::Address(outside.v4.into())));
    assert_eq!(desk.dialled(4), Err(Verdict::NOT_FOUND));
}
