use std::net::SocketAddr;
use std::sync::Mutex;

use ztna_model::{Protocol, Target};

use super::site::{For, Site, echo};
use super::*;
use crate::carriers::carriers;
use crate::config::UdpConfig;
use crate::dial::DialRefusal;
use crate::resolver::Resolver;

fn resolver(answers: &[(&str, &[&str])]) -> Resolver {
    let parse = |text: &&str| text.parse::<IpAddr>().unwrap();
    let answers =
        answers.iter().map(|(name, found)| (name.parse().unwrap(), found.iter().map(parse).collect()));
    Resolver::Listed(Mutex::new(answers.collect()))
}

#[test]
fn e02_e03_a_name_that_stands_for_a_forbidden_address_is_not_reached() {
    let wiki = echo();
    let forbidden: [&[&str]; 10] = [
        &["127.0.0.2"],
        &["0.0.0.0"],
        &["169.254.169.254"],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["::127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["fe80::1"],
        &["198.18.0.1"],
        &["224.0.0.1", "255.255.255.255"],
    ];
    let names: Vec<String> = (0..forbidden.len()).map(|n| format!("name-{n}.test")).collect();
    let answers: Vec<(&str, &[&str])> = names.iter().map(String::as_str).zip(forbidden).collect();
    // The application listens on loopback, and `reach` names that very address: but not for these.
    let mut site = Site::with_resolver(&["*.test", &wiki.to_string()], resolver(&answers));
    let mut device = site.device();
    for (index, name) in (0..).zip(&names) {
        site.grant(&device, &For::tcp(index, format!("{name}:{}", wiki.port())));
        let stream = device.dial(Protocol::Tcp, index, 80);
        device.reset(stream);
    }
    let refused = site.status().plane.refused_dials;
    assert_eq!(refused.into_iter().collect::<Vec<_>>(), [(DialRefusal::OutOfReach, names.len() as u64)]);
}

#[test]
fn p6_4_e02_the_address_that_was_checked_is_the_one_that_is_reached() {
    let wiki = echo();
    let there = wiki.ip().to_string();
    let answers: [(&str, &[&str]); 3] = [
        ("wiki.test", &["127.0.0.9", &there]), // one that may not be reached comes first
        ("wiki.test", &["127.0.0.9"]),         // and then the name means something else
        ("wiki.test", &[&there]),
    ];
    let mut site = Site::with_resolver(&["*.test", &wiki.to_string()], resolver(&answers));
    let mut device = site.device();
    site.grant(&device, &For::tcp(1, format!("wiki.test:{}", wiki.port())));
    let first = device.dial(Protocol::Tcp, 1, 80);
    device.connected(first);
    let second = device.dial(Protocol::Tcp, 1, 80);
    device.reset(second);
    let third = device.dial(Protocol::Tcp, 1, 80);
    device.connected(third);
    // The name is looked at when a flow begins, and never again.
    for stream in [first, third] {
        device.send(stream, b"hello");
        assert_eq!(device.receive(stream, 5), b"hello");
    }
}

#[test]
fn e03_what_other_resolvers_would_read_as_an_address_is_no_name() {
    for text in ["2130706433", "0177.0.0.1", "0x7f000001", "127.1", "0x7f.1:80"] {
        assert!(text.parse::<Target>().is_err(), "{text}");
    }
}

#[test]
fn this_machine_is_reached_only_where_it_is_named_exactly() {
    let Some(own) = own_address() else { return };
    let listener = std::net::TcpListener::bind((own, 0)).unwrap();
    let there = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let rows = [(format!("{own}/32"), false), (there.to_string(), true)];
    for (entry, reached) in rows {
        let mut site = Site::new(&[&entry]);
        let mut device = site.device();
        site.grant(&device, &For::tcp(1, there));
        let stream = device.dial(Protocol::Tcp, 1, 80);
        if reached {
            device.connected(stream);
        } else {
            device.reset(stream);
            assert_eq!(site.status().plane.refused_dials[&DialRefusal::OutOfReach], 1);
        }
    }
}

/// An address of this machine's that is not loopback.
fn own_address() -> Option<IpAddr> {
    let any: SocketAddr = "0.0.0.0:1".parse().unwrap();
    let found = carriers(&UdpConfig::default(), any, ztna_net::udp::Bind::V4, &[]);
    found.first().map(|ztna_model::Carrier::Udp(address)| address.ip())
}

#[test]
fn a_lease_outside_reach_is_not_taken() {
    let wiki = echo();
    let mut site = Site::new(&["10.0.0.0/8", "*.internal"]);
    let device = site.device();
    let rows = [
        (wiki.to_string(), LeaseError::ForbiddenTarget),
        ("169.254.169.254:80".into(), LeaseError::ForbiddenTarget),
        ("192.168.1.1:80".into(), LeaseError::OutOfReach),
    ];
    for (index, (target, expected)) in (0..).zip(rows) {
        let lease = site.lease(&device, &For::tcp(index, target));
        assert_eq!(site.offer(&lease), Err(expected));
    }
}
