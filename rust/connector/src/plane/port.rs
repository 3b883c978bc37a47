use ztna_datapath::Datagrams;
use ztna_model::Carrier;
use ztna_net::udp::UdpPort;

/// The send buffer of the UDP port, as tunnels see it.
pub(super) struct Outlet<'a>(pub(super) &'a mut UdpPort);

impl Datagrams for Outlet<'_> {
    fn room(&mut self, to: Carrier, length: usize) -> &mut [u8] {
        match to {
            Carrier::Udp(address) => self.0.room(address, length),
        }
    }

    fn commit(&mut self, length: usize) {
        self.0.commit(length);
    }
}
