//! Networks change underneath, and applications go on: the product's processes, each on a machine of its own.

mod organisation; // the product in the lab
use organisation::Organisation;

use std::time::Duration;

use ztna_model::{millis, secs};
use ztna_net::clock::Clock;

use crate::lab::{Access, Impairment, Nat, sandbox};

/// How long it is until something comes back, asking again as an application does.
async fn until_it_echoes(
    organisation: &Organisation,
    flow: &organisation::Flow,
    longest: Duration,
) -> Duration {
    let start = Clock.now();
    assert!(organisation.echoes(flow, longest).await, "it does not within {longest:?}");
    Clock.now().since(start)
}

#[test]
fn a_flow_survives_another_network_within_three_seconds_without_a_sign_in() {
    sandbox(|_| async {
        let organisation = Organisation::new(Nat::PortRestricted, secs(60), 1).await;
        let _client = organisation.sign_in(&["--proxy"]).await;
        let flow = organisation.open().await;
        for access in [Access::Mobile, Access::Home, Access::Mobile, Access::Home] {
            organisation.lab.move_to(access);
            let took = until_it_echoes(&organisation, &flow, secs(3)).await;
            println!("first packet over {access:?}: {took:?}");
        }
        organisation.is_undisturbed().await;
    });
}

#[test]
fn an_answer_that_is_waited_for_in_silence_finds_the_device_in_its_new_network() {
    sandbox(|_| async {
        let organisation = Organisation::new(Nat::PortRestricted, secs(60), 1).await;
        let _client = organisation.sign_in(&["--proxy"]).await;
        let flow = organisation.open().await;
        for access in [Access::Mobile, Access::Home] {
            let (answered, ()) = tokio::join!(organisation.answers_later(&flow, secs(3)), async {
                tokio::time::sleep(millis(200)).await;
                organisation.lab.move_to(access);
            });
            assert!(answered, "{access:?}");
        }
        organisation.is_undisturbed().await;
    });
}

#[test]
fn g06_applications_packets_and_questions_stay_inside_the_tunnel_in_every_network() {
    sandbox(|_| async {
        let organisation = Organisation::new(Nat::PortRestricted, secs(60), 1).await;
        let mut client = organisation.sign_in(&[]).await;
        let flow = organisation.open_by_name().await;
        let echo = organisation.lab.client.run("getent", &["ahosts", "echo.company.test"], "");
        assert!(echo.contains("198.18.") && echo.contains("2001:2:0:1:"), "{echo}");
        for access in [Access::Mobile, Access::Home] {
            organisation.lab.move_to(access);
            // A network that wants the tunnel's traffic (DHCP option 121), and has IPv6 as well.
            let gateway = if access == Access::Home { "192.168.1.1" } else { "10.64.0.1" };
            organisation.lab.client.ip(&format!("route replace 198.18.0.0/24 via {gateway} proto dhcp"));
            organisation.lab.give_ipv6(access);
            assert!(organisation.echoes(&flow, secs(3)).await, "{access:?}");
            let fresh = organisation.open_by_name().await;
            assert!(organisation.echoes(&fresh, secs(3)).await, "{access:?}");
            organisation.is_undisturbed().await;
        }
        client.kill().await;
        let gone = organisation
            .lab
            .client
            .within(async { tokio::net::TcpStream::connect("198.18.0.7:7").await.is_err() });
        assert!(gone.await, "what was the tunnel's leads nowhere");
        assert_eq!(organisation.lab.leaks(), crate::lab::Leaks::NONE);
    });
}

#[test]
fn bytes_get_through_a_bad_network() {
    sandbox(|_| async {
        let organisation = Organisation::new(Nat::PortRestricted, secs(60), 1).await;
        let hop = organisation.lab.impair(Impairment { delay: millis(5), ..Impairment::NONE }).await;
        let mut client = organisation.sign_in(&[]).await;
        let bad = Impairment {
            seed: 3,
            loss: 50,
            reorder: 200,
            duplicate: 10,
            delay: millis(5),
            jitter: millis(2),
            ..Impairment::NONE
        };
        for (what, impairment) in [("nothing", Impairment::NONE), ("5 % loss and 20 % reordering", bad)] {
            for (way, flow) in
                [("the proxy", organisation.open().await), ("the device", organisation.open_by_name().await)]
            {
                hop.becomes(impairment);
                let start = Clock.now();
                let bytes: Vec<u8> = (0..50_000_u32).map(|number| number.to_le_bytes()[1]).collect();
                assert!(organisation.brings_back(&flow, bytes, secs(60)).await, "{what}, by {way}");
                println!("{what}, by {way}: 50 kB there and back in {:?}", Clock.now().since(start));
                hop.becomes(Impairment::NONE);
            }
        }
        let flow = organisation.open().await;
        hop.becomes(Impairment { is_cut: true, ..Impairment::NONE });
        assert!(!organisation.echoes(&flow, secs(4)).await);
        hop.becomes(Impairment::NONE);
        let flow = organisation.open().await;
        assert!(organisation.echoes(&flow, secs(5)).await, "after a tunnel in the mountains");
        organisation.is_undisturbed().await;
        client.kill().await;
    });
}

#[test]
fn a_path_of_1340_bytes_that_tells_nobody_carries_every_packet() {
    sandbox(|_| async {
        let organisation = Organisation::new(Nat::PortRestricted, secs(60), 1).await;
        // 1280 bytes inside, 60 around them (IPv4, UDP, WireGuard).
        let narrow = Impairment { mtu: Some(1340), ..Impairment::NONE };
        let _hop = organisation.lab.impair(narrow).await;
        // The broker's TCP finds out by itself (RFC 4821), where the kernel is told to.
        for machine in [&organisation.lab.client, &organisation.lab.broker] {
            machine.set("net.ipv4.tcp_mtu_probing", "2");
        }
        let mut client = organisation.sign_in(&[]).await;
        for (way, flow) in
            [("the proxy", organisation.open().await), ("the device", organisation.open_by_name().await)]
        {
            let bytes: Vec<u8> = (0..50_000_u32).map(|number| number.to_le_bytes()[1]).collect();
            assert!(organisation.brings_back(&flow, bytes, secs(10)).await, "by {way}");
        }
        organisation.is_undisturbed().await;
        client.kill().await;
    });
}

#[test]
fn a_flow_survives_a_router_that_forgets_it() {
    sandbox(|_| async {
        let organisation = Organisation::new(Nat::Symmetric, secs(60), 1).await;
        let _client = organisation.sign_in(&["--proxy"]).await;
        let flow = organisation.open().await;
        for _ in 0..3 {
            organisation.lab.forget_flows(Access::Home);
            until_it_echoes(&organisation, &flow, secs(3)).await;
        }
        organisation.is_undisturbed().await;
    });
}

#[test]
fn p5_10_a_gateway_that_is_killed_is_replaced_within_three_seconds() {
    sandbox(|_| async {
        let mut organisation = Organisation::new(Nat::PortRestricted, secs(60), 2).await;
        let _client = organisation.sign_in(&["--proxy"]).await;
        let flow = organisation.open().await;
        assert!(organisation.echoes(&flow, secs(3)).await);
        let serving = organisation.serving().await;
        let start = Clock.now();
        organisation.gateways[serving].kill().await;
        let flow = organisation.open().await;
        assert!(organisation.echoes(&flow, secs(3)).await);
        let took = Clock.now().since(start);
        println!("the other gateway after {took:?}");
        assert!(took <= secs(3), "{took:?}");
        organisation.is_undisturbed().await;
    });
}

#[test]
fn p5_10_a_gateway_that_is_cut_off_in_silence_is_replaced_within_twenty_seconds() {
    sandbox(|_| async {
        let organisation = Organisation::new(Nat::PortRestricted, secs(60), 2).await;
        let _client = organisation.sign_in(&["--proxy"]).await;
        let flow = organisation.open().await;
        let serving = organisation.serving().await;
        let start = Clock.now();
        organisation.place(serving).nft(CUT_OFF);
        // Applications go on asking, and so it is noticed.
        while !organisation.echoes(&flow, secs(1)).await {
            let Some(next) = organisation.try_open().await else { continue };
            if organisation.echoes(&next, secs(1)).await {
                break;
            }
            assert!(Clock.now().since(start) <= secs(30));
        }
        let took = Clock.now().since(start);
        println!("the other gateway after {took:?}");
        assert!(took <= secs(20), "{took:?}");
        organisation.is_undisturbed().await;
    });
}

#[test]
fn a_broker_that_is_away_is_not_missed_while_leases_last_and_not_for_long_when_it_is_back() {
    sandbox(|_| async {
        let organisation = Organisation::new(Nat::PortRestricted, secs(12), 1).await;
        let _client = organisation.sign_in(&["--proxy"]).await;
        let flow = organisation.open().await;
        let away = |is| {
            let state = if is { "down" } else { "up" };
            organisation.lab.internet.ip(&format!("link set leg3 {state}"));
        };
        away(true);
        let start = Clock.now();
        while Clock.now().since(start) < secs(4) {
            assert!(organisation.echoes(&flow, secs(1)).await, "the lease lasts");
        }
        away(false);
        for _ in 0..2 {
            assert!(organisation.echoes(&flow, secs(3)).await);
        }
        away(true);
        let start = Clock.now();
        while organisation.echoes(&flow, secs(1)).await {
            assert!(Clock.now().since(start) <= secs(14), "a lease lives for 12 s, and nobody renews it");
        }
        away(false);
        let flow = organisation.open().await;
        assert!(organisation.echoes(&flow, secs(3)).await);
        organisation.is_undisturbed().await;
    });
}

#[test]
fn a_network_that_has_ipv6_alone_is_enough() {
    sandbox(|_| async {
        let organisation = Organisation::new(Nat::PortRestricted, secs(60), 1).await;
        organisation.lab.give_ipv6(Access::Home);
        organisation.lab.take_ipv4(Access::Home);
        let _client = organisation.sign_in(&["--proxy"]).await;
        let flow = organisation.open().await;
        assert!(organisation.echoes(&flow, secs(3)).await);
        organisation.is_undisturbed().await;
    });
}

/// Nothing leaves, nothing comes, and nobody is told.
const CUT_OFF: &str = "table inet cut {
  chain out { type filter hook output priority 0; oifname wan drop; }
  chain in { type filter hook input priority 0; iifname wan drop; }
}
";
