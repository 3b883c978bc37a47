//! The box is what it says: who reaches whom, what routers do, what counters count.

use crate::lab::probe::{bind, is_heard, mirror, seen_at_last, seen_by};
use crate::lab::{Access, Lab, Leaks, Nat, sandbox};

const ONE: &str = "203.0.113.10:7000";
const OTHER: &str = "203.0.113.14:7000";

#[test]
fn the_client_reaches_the_world_over_either_network_with_either_family() {
    sandbox(|_| async {
        let lab = Lab::new(Nat::PortRestricted);
        mirror(&lab.broker, ONE).await;
        mirror(&lab.broker, "[2001:db8:3::2]:7000").await;
        for (access, v4, v6) in [
            (Access::Home, "203.0.113.2", "2001:db8:a1::10"),
            (Access::Mobile, "203.0.113.6", "2001:db8:a2::10"),
        ] {
            lab.move_to(access);
            lab.give_ipv6(access);
            let socket = bind(&lab.client, "0.0.0.0:0").await;
            let seen = seen_at_last(&lab.client, &socket, ONE).await;
            assert_eq!(seen.ip().to_string(), v4, "{access:?}");
            let socket = bind(&lab.client, "[::]:0").await;
            let seen = seen_at_last(&lab.client, &socket, "[2001:db8:3::2]:7000").await;
            assert_eq!(seen.ip().to_string(), v6, "{access:?}");
            lab.take_ipv4(access);
            let socket = bind(&lab.client, "0.0.0.0:0").await;
            assert_eq!(seen_by(&lab.client, &socket, ONE).await, None, "{access:?} has no IPv4");
        }
        assert_eq!(lab.leaks(), Leaks::NONE);
    });
}

#[test]
fn routers_translate_as_they_are_called() {
    sandbox(|_| async {
        // Whether the client keeps its port with others, and who gets in there besides whom it has written to: another
        // port of that host, another host.
        for (nat, keeps, port, host) in [
            (Nat::FullCone, true, true, true),
            (Nat::AddressRestricted, true, true, false),
            (Nat::PortRestricted, true, false, false),
            (Nat::Symmetric, false, false, false),
        ] {
            let lab = Lab::new(nat);
            mirror(&lab.broker, ONE).await;
            mirror(&lab.berlin, OTHER).await;
            let (client, socket) = (&lab.client, bind(&lab.client, "0.0.0.0:5000").await);
            let seen = seen_at_last(client, &socket, ONE).await;
            let here = (client, &socket);
            assert_eq!(is_heard((&lab.tokyo, "203.0.113.18:7000"), seen, here).await, host, "{nat:?}: host");
            assert_eq!(is_heard((&lab.broker, "203.0.113.10:7001"), seen, here).await, port, "{nat:?}: port");
            let elsewhere = seen_at_last(client, &socket, OTHER).await;
            assert_eq!(elsewhere == seen, keeps, "{nat:?}: {seen}, {elsewhere}");
        }
    });
}

#[test]
fn a_router_that_forgets_shuts_out_who_was_let_in() {
    sandbox(|_| async {
        let lab = Lab::new(Nat::Symmetric);
        mirror(&lab.broker, ONE).await;
        let (client, socket) = (&lab.client, bind(&lab.client, "0.0.0.0:5000").await);
        let before = seen_at_last(client, &socket, ONE).await;
        lab.forget_flows(Access::Home);
        let after = seen_at_last(client, &socket, ONE).await;
        assert_ne!(before, after, "the same conversation has another port");
    });
}

#[test]
fn leak_counters_count() {
    sandbox(|_| async {
        let lab = Lab::new(Nat::PortRestricted);
        assert_eq!(lab.leaks(), Leaks::NONE);
        lab.give_ipv6(Access::Home);
        let send = |from: &'static str, to: &'static str| {
            let client = &lab.client;
            async move {
                let socket = bind(client, from).await;
                client.within(async move { socket.send_to(b"leak", to).await.expect("it leaves") }).await
            }
        };
        send("0.0.0.0:0", "203.0.113.10:53").await;
        assert_eq!(lab.leaks(), Leaks { dns: 1, ..Leaks::NONE });
        send("0.0.0.0:0", "198.18.0.7:80").await;
        send("[::]:0", "[2001:2:0:1::7]:80").await;
        assert_eq!(lab.leaks(), Leaks { dns: 1, ipv6: 1, ours: 2 });
        send("[::]:0", "[2001:db8:3::2]:80").await;
        send("[::]:0", "[2600::1]:80").await;
        assert_eq!(lab.leaks(), Leaks { dns: 1, ipv6: 2, ours: 2 });
    });
}
