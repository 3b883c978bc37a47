//! Networks change underneath, and applications go on: the product's processes, each on a machine of its own.

mod organisation; // the product in the lab
use organisation::Organisation;

use std::time::Duration;

use ztna_model::secs;
use ztna_net::clock::Clock;

use crate::lab::{Access, Nat, sandbox};

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
