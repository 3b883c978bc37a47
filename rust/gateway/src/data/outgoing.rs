use ztna_datapath::Datagrams;
use ztna_model::Carrier;
use ztna_net::udp::UdpPort;

/// The port, as what datagrams are sealed into.
pub(crate) struct Outgoing(pub(crate) UdpPort);

impl Datagrams for Outgoing {
    fn room(&mut self, to: Carrier, length: usize) -> &mut [u8] {
        match to {
            Carrier::Udp(address) => self.0.room(address, length),
        }
    }

    fn commit(&mut self, length: usize) {
        self.0.commit(length);
    }
}
