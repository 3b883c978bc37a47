//! What is decided upon: facts, leases.

use ztna_api::gateway::{Offered, ToGateway, Welcome};
use ztna_api::wire;
use ztna_datapath::{Datagrams, Datapath, Side};
use ztna_gate::{Config, Gate, Reach};
use ztna_model::{
    Carrier, FactKind, FactState, Incarnation, Reading, RootHash, RunId, Secret, Tier, Time, WallTime, secs,
};
use ztna_policy::{Limits, Table};
use ztna_posture::{Requirements, grade};
use ztna_tunnel::Tunnel;

use crate::Chance;

/// Readings: one fact for each kind, and no pass from what is unknown or made up.
pub(crate) fn facts(bytes: &[u8]) {
    let Ok(readings) = wire::read::<Vec<Reading>>(bytes, 64 * 1024) else { return };
    let facts =
        grade(&readings, &Requirements::default(), Tier::ProvenApp, WallTime::from_secs(1_800_000_000));
    assert_eq!(facts.len(), FactKind::ALL.len(), "one fact for each kind");
    for fact in facts {
        let said = readings.iter().filter(|reading| reading.kind == fact.kind).count();
        let passed = fact.state == FactState::Pass;
        assert!(!passed || said == 1, "{} passes though it was said {said} times", fact.kind);
        assert!(!passed || !fact.simulated, "{} passes though it is made up", fact.kind);
    }
}

/// What a gateway is offered as a lease, and hears as a frame: nothing that the fuzzer makes up is taken.
pub(crate) fn leases(bytes: &[u8]) {
    let now = Time::ZERO + secs(1_000);
    let mut gate = gate(now);
    let mut sink = Sink(Vec::new());
    gate.begin_batch(now, &mut sink);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let keys = text.trim().to_owned();
        let gateway = "gw-1".parse().expect("an id");
        gate.handle_frame(
            Welcome { version: 1, gateway, incarnation: Incarnation([9; 16]), keys }.into(),
            &mut sink,
        );
        gate.handle_frame(Offered { lease: text.trim().into(), carriers: vec![] }.into(), &mut sink);
    }
    if let Ok(frame) = ToGateway::read(bytes) {
        gate.handle_frame(frame, &mut sink);
    }
    gate.finish(&mut sink);
    while gate.poll().is_some() {}
    assert_eq!(gate.leases().count(), 0, "a lease that nobody signed");
}

fn gate(now: Time) -> Gate {
    let tunnel = Tunnel::new(&Secret::new([2; 32]), Tunnel::DEFAULT_MTU, now);
    let datapath = Datapath::new(Side::Gateway, tunnel, Table::new([3; 16], Limits::GATEWAY));
    let config = Config {
        org: "https://acme.example".parse().expect("an organisation"),
        gateway: "gw-1".parse().expect("an id"),
        run: RunId([4; 16]),
        root: RootHash([3; 32]),
        reach: Reach::new(vec!["10.0.0.0/8".parse().expect("a prefix")]),
        most_leases: 8,
        serves_own_machine: false,
    };
    Gate::new(config, datapath, Box::new(Chance(1)))
}

struct Sink(Vec<u8>);

impl Datagrams for Sink {
    fn room(&mut self, _to: Carrier, length: usize) -> &mut [u8] {
        self.0.resize(length, 0);
        &mut self.0
    }

    fn commit(&mut self, _length: usize) {}
}
