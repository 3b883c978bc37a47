//! The whole product in virtual time: one broker's decisions, gateways, devices, and the network between them, on one
//! thread and without a socket. What decides is the product's own; what carries is made here.
//!
//! ```ignore
//! let mut world = World::new();
//! let ana = world.device("ana");
//! world.sign_in(ana);
//! world.assert_reachable(ana, "wiki.demo");
//! world.hold_person("ana");
//! world.assert_cut(ana, "wiki.demo");
//! ```

#[path = "../../rust/tunnel/tests/virtual_clock/clock.rs"]
mod clock;

mod broker; // the Pdp, with a store in memory and a web server in front
mod chance; // random bytes that are the same in every run
mod device; // a Session, and a data thread without a thread
mod identity; // an identity provider
mod nat; // a translator of addresses in front of a device
mod network; // what is on its way, and how long it takes
mod site; // a Gate, and applications that echo

use std::time::Duration;

use ztna_api::admin::{Answer, HoldTarget, Op};
use ztna_model::{DenyReason, FactKind, FactValue, Time, millis, secs};
use ztna_proxy::Verdict;

pub(crate) use broker::{Broker, person};
pub(crate) use device::Device;
pub(crate) use identity::Manner;
pub(crate) use nat::Nat;
pub(crate) use network::{Cable, Network};
pub(crate) use site::Gateway;

use chance::Chance;
use clock::VirtualClock;
use identity::Identity;

/// Everything there is.
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) broker: Broker,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) devices: Vec<Device>,
    pub(crate) network: Network,
    pub(crate) identity: Identity,
    clock: VirtualClock,
    chance: Chance,
}

/// One device of the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DeviceId(pub(crate) usize);

impl World {
    /// Ana and Bo are staff. The wiki is open to staff, payroll to staff with an encrypted disk, the ledger exists and
    /// nobody may know it.
    pub(crate) fn new() -> Self {
        let clock = VirtualClock::start();
        let now = Time::ZERO + secs(1_000);
        clock.set(now);
        let mut chance = Chance::new(7);
        let identity = Identity::new();
        let (broker, gateway_key) = Broker::new(&mut chance, now);
        let network = Network::new(chance.fork());
        let mut world =
            Self { now, broker, gateways: vec![], devices: vec![], network, identity, clock, chance };
        let gateway = Gateway::new(gateway_key, &world.broker, &mut world.chance, world.now);
        world.gateways.push(gateway);
        world.after(millis(100));
        world
    }

    /// A new device of this person's.
    pub(crate) fn device(&mut self, person: &str) -> DeviceId {
        let id = DeviceId(self.devices.len());
        let device = Device::new(id, person, &self.broker, &mut self.chance, self.now);
        self.devices.push(device);
        id
    }

    /// Signs a device in and waits until it has arrived where it goes from there.
    pub(crate) fn sign_in(&mut self, id: DeviceId) {
        let org = self.broker.org_string();
        let now = self.now;
        let device = &mut self.devices[id.0];
        device.session.sign_in(org, "http://127.0.0.1:7777/back".into(), None, now);
        self.after(secs(2));
    }

    /// Lets time pass, step by step: everything that is due happens when it is due.
    pub(crate) fn after(&mut self, span: Duration) {
        let end = self.now + span;
        self.settle();
        while let Some(next) = self.next_event().filter(|next| *next <= end) {
            self.go_to(next);
            self.settle();
        }
        self.go_to(end);
        self.settle();
    }

    /// What a device's application gets when it dials `name`: an echo, or the reason why not.
    pub(crate) fn reach(&mut self, id: DeviceId, name: &str) -> Result<(), Verdict> {
        let now = self.now;
        let device = &mut self.devices[id.0];
        let dial = device.dial(name, now);
        for _ in 0..600 {
            self.after(millis(20));
            if let Some(answer) = self.devices[id.0].dialled.remove(&dial) {
                let to = answer?;
                return if self.echoes(id, to) {
                    Ok(())
                } else {
                    Err(Verdict::denied(DenyReason::TargetAway))
                };
            }
        }
        panic!("a dial was never answered")
    }

    /// Sends one datagram to `to` and says whether its echo came back within two seconds.
    pub(crate) fn echoes(&mut self, id: DeviceId, to: ztna_model::Endpoint) -> bool {
        let before = self.devices[id.0].echoes;
        self.devices[id.0].send(to, b"hello, this is plain text");
        self.after(secs(2));
        self.devices[id.0].echoes > before
    }

    #[track_caller]
    pub(crate) fn assert_reachable(&mut self, id: DeviceId, name: &str) {
        assert_eq!(self.reach(id, name), Ok(()), "{name} should be reachable");
    }

    #[track_caller]
    pub(crate) fn assert_denied(&mut self, id: DeviceId, name: &str, reason: DenyReason) {
        match self.reach(id, name) {
            Err(Verdict::Denied { reason: found, .. }) => assert_eq!(found, reason, "{name}"),
            other => panic!("{name} should be denied for {reason:?}, and is {other:?}"),
        }
    }

    /// Whatever the reason: `name` cannot be reached.
    #[track_caller]
    pub(crate) fn assert_out_of_reach(&mut self, id: DeviceId, name: &str) {
        let outcome = self.reach(id, name);
        assert!(outcome.is_err(), "{name} should be out of reach");
    }

    /// An administrator asks for something, and gets it.
    pub(crate) fn admin(&mut self, op: Op) -> Answer {
        let outcome = self.broker.admin(op, self.now, &mut self.network);
        outcome.expect("an administrator gets it")
    }

    /// An administrator denies something until further notice.
    pub(crate) fn hold(&mut self, target: HoldTarget) -> Answer {
        self.admin(Op::HoldPlace { target, reason: "test".into(), until: None })
    }

    /// A device's fact changes, and its platform tells the session.
    pub(crate) fn report(&mut self, id: DeviceId, kind: FactKind, value: FactValue) {
        let now = self.now;
        self.devices[id.0].report(kind, value, now);
    }

    pub(crate) fn restart_broker(&mut self) {
        self.broker.restart(self.now, &mut self.network);
    }

    pub(crate) fn restart_gateway(&mut self, index: usize) {
        let now = self.now;
        self.gateways[index].restart(now, &mut self.network);
    }

    fn next_event(&self) -> Option<Time> {
        let devices = self.devices.iter().filter_map(Device::next_wake);
        let gateways = self.gateways.iter().filter_map(Gateway::next_wake);
        let events = devices.chain(gateways).chain(self.network.next()).chain(self.broker.next_wake());
        events.min()
    }

    fn go_to(&mut self, time: Time) {
        self.now = self.now.max(time);
        self.clock.set(self.now);
    }

    /// Carries out what everybody has decided, until nobody has anything to do at this moment.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut busy = false;
            while let Some(arrived) = self.network.arrived(self.now) {
                self.deliver(arrived);
                busy = true;
            }
            let reads = self.clock.reads();
            busy |= self.broker.turn(self.now, &mut self.network);
            assert_eq!(self.clock.reads(), reads, "the broker's decisions read a clock");
            for gateway in &mut self.gateways {
                busy |= gateway.turn(self.now, &mut self.network);
            }
            for device in &mut self.devices {
                busy |= device.turn(self.now, &mut self.network, &mut self.identity);
            }
            if !busy {
                return;
            }
        }
        panic!("the world does not come to rest")
    }

    fn deliver(&mut self, cable: Cable) {
        match cable {
            Cable::ToBroker(message) => self.broker.receive(message, self.now, &mut self.network),
            Cable::ToDevice(id, message) => self.devices[id.0].receive(message, self.now),
            Cable::ToGateway(index, message) => {
                if let Some(gateway) = self.gateways.get_mut(index) {
                    gateway.receive(message, self.now);
                }
            }
            Cable::Datagram { from, to, bytes } => {
                if let Some(gateway) = self.gateways.iter_mut().find(|gateway| gateway.address == to) {
                    gateway.open(&bytes, from, self.now);
                } else if let Some(device) = self.devices.iter_mut().find(|device| device.address == to) {
                    device.open(&bytes, from, self.now);
                }
            }
        }
    }
}

/// Bytes of a stranger's own.
pub(crate) const fn chance(seed: u64) -> Chance {
    Chance::new(seed)
}
