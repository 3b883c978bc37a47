//! boringtun as others run it: its own timers, looked at every quarter of a second.

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};

use ztna_model::{Secret, millis};
use ztna_tunnel::{Decapsulated, Encapsulated, PeerId, Role, Tunnel, wg_public};

use crate::clock::VirtualClock;
use crate::pair::{START, Seeded, address, packet};

struct Foreign {
    machine: Tunn,
    sends: Vec<Vec<u8>>,
    packets: usize,
}

impl Foreign {
    fn new(secret: [u8; 32], peer: &Secret<[u8; 32]>) -> Self {
        let peer = PublicKey::from(wg_public(peer).0);
        let machine = Tunn::new(StaticSecret::from(secret), peer, None, None, 77, None);
        Self { machine, sends: Vec::new(), packets: 0 }
    }

    fn tick(&mut self) {
        let mut out = [0; 200];
        if let TunnResult::WriteToNetwork(datagram) = self.machine.update_timers(&mut out) {
            self.sends.push(datagram.to_vec());
        }
    }

    fn send(&mut self, packet: &[u8]) {
        let mut out = [0; 1_500];
        if let TunnResult::WriteToNetwork(datagram) = self.machine.encapsulate(packet, &mut out) {
            self.sends.push(datagram.to_vec());
        }
    }

    fn receive(&mut self, datagram: &[u8]) {
        let mut datagram = datagram;
        loop {
            let mut out = [0; 1_500];
            match self.machine.decapsulate(Some([192, 0, 2, 1].into()), datagram, &mut out) {
                TunnResult::WriteToNetwork(answer) => self.sends.push(answer.to_vec()),
                TunnResult::WriteToTunnelV4(..) => return self.packets += 1,
                TunnResult::Done => return,
                other @ (TunnResult::Err(_) | TunnResult::WriteToTunnelV6(..)) => panic!("{other:?}"),
            }
            datagram = &[];
        }
    }
}

struct Ours {
    tunnel: Tunnel,
    peer: PeerId,
    packets: usize,
}

impl Ours {
    fn new(secret: &Secret<[u8; 32]>, peer: &Secret<[u8; 32]>, role: Role) -> Self {
        let mut tunnel = Tunnel::new(secret, Tunnel::DEFAULT_MTU, START);
        let peer = tunnel.add_peer(wg_public(peer), None, role, &mut Seeded(1), START).unwrap();
        tunnel.set_carriers(peer, &[address("192.0.2.1:1")]);
        Self { tunnel, peer, packets: 0 }
    }
}

/// 400 seconds, in each of which both ends send a packet, a gateway once it was sent one: how many arrive at ours and
/// at the foreign end?
fn talk(role: Role) -> (usize, usize) {
    let clock = VirtualClock::start();
    clock.set(START);
    let (one, two) = (Secret::new([1; 32]), Secret::new([2; 32]));
    let (mut ours, mut foreign) = (Ours::new(&one, &two, role), Foreign::new([2; 32], &one));
    let (mut now, mut out) = (START, [0; 1_500]);
    for quarter in 0..1_600 {
        now += millis(250);
        clock.set(now);
        foreign.tick();
        ours.tunnel.wake(now);
        if quarter % 4 == 0 {
            if role == Role::Responder || foreign.packets > 0 {
                foreign.send(&packet(64));
            }
            let sealed = ours.tunnel.encapsulate(ours.peer, &packet(64), &mut out, now);
            if let Ok(Encapsulated::Sealed { length, .. }) = sealed {
                foreign.receive(&out[..length]);
            }
        }
        loop {
            for datagram in std::mem::take(&mut foreign.sends) {
                let opened = ours.tunnel.decapsulate(&datagram, address("192.0.2.1:1"), &mut out, now);
                ours.packets += usize::from(matches!(opened, Ok(Decapsulated::Packet { .. })));
            }
            let Some(transmit) = ours.tunnel.poll(&mut out, now) else { break };
            foreign.receive(&out[..transmit.length]);
        }
    }
    (ours.packets, foreign.packets)
}

#[test]
fn a_foreign_client_reaches_our_gateway() {
    let (ours, foreign) = talk(Role::Responder);
    assert_eq!(ours, 400);
    assert!(foreign >= 399, "{foreign}: the first packet comes before there is a session");
}

#[test]
fn our_client_reaches_a_foreign_gateway() {
    let (ours, foreign) = talk(Role::Initiator);
    assert!(ours >= 399, "{ours}");
    assert_eq!(foreign, 400);
}
