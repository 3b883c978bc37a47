use std::time::Duration;

use ztna_model::{Protocol, minutes, secs};
use ztna_packet::{Tcp, TcpFlags};

/// How far a TCP connection is, as far as its packets show: for how long it may be silent, and with which numbers it can
/// be reset.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Course {
    device: End,
    site: End,
    is_reset: bool,
}

/// What one end has sent.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct End {
    /// The number after the last byte that it sent.
    next: Option<u32>,
    /// Whether it sends no more.
    has_finished: bool,
}

impl Course {
    /// A segment of the device's with so much payload passes.
    pub(crate) fn device_sent(&mut self, tcp: Tcp, payload: usize) {
        self.is_reset |= tcp.flags.has(TcpFlags::RST);
        self.device.sent(tcp, payload);
    }

    /// A segment of the site's with so much payload passes.
    pub(crate) fn site_sent(&mut self, tcp: Tcp, payload: usize) {
        self.is_reset |= tcp.flags.has(TcpFlags::RST);
        self.site.sent(tcp, payload);
    }

    /// With which number the device, and the site, believe a reset: what they expect next from the other. And what the
    /// device has sent last, which it needs to see acknowledged as long as the site has said nothing.
    pub(crate) const fn numbers(&self) -> Numbers {
        Numbers { to_device: self.site.next, to_site: self.device.next }
    }

    /// For how long such a flow may be silent (RFC 5382, REQ-5; RFC 4787, REQ-5; RFC 5508, REQ-2).
    pub(crate) const fn patience(&self, protocol: Protocol) -> Duration {
        match protocol {
            Protocol::Udp => minutes(2),
            Protocol::IcmpEcho => secs(60),
            Protocol::Tcp if self.is_established() => minutes(124),
            Protocol::Tcp => minutes(4),
        }
    }

    /// Whether both ends have finished, or one broke it off.
    pub(crate) const fn is_over(&self) -> bool {
        self.is_reset || self.device.has_finished && self.site.has_finished
    }

    const fn is_established(&self) -> bool {
        self.device.next.is_some() && self.site.next.is_some() && !self.is_over()
    }
}

/// Numbers for resets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Numbers {
    pub(crate) to_device: Option<u32>,
    pub(crate) to_site: Option<u32>,
}

impl End {
    fn sent(&mut self, tcp: Tcp, payload: usize) {
        self.has_finished |= tcp.flags.has(TcpFlags::FIN);
        let counted = u32::from(tcp.flags.has(TcpFlags::SYN))
            + u32::from(tcp.flags.has(TcpFlags::FIN))
            + payload as u32;
        let end = tcp.sequence.wrapping_add(counted);
        // What is sent again does not turn the clock back.
        let is_ahead = self.next.is_none_or(|next| end.wrapping_sub(next).cast_signed() > 0);
        if is_ahead || tcp.flags.has(TcpFlags::SYN) {
            self.next = Some(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(sequence: u32, flags: TcpFlags) -> Tcp {
        Tcp { source_port: 1, destination_port: 2, sequence, acknowledgement: 0, flags, window: 0 }
    }

    #[test]
    fn the_life_of_a_connection() {
        let (syn, fin, ack, rst) = (TcpFlags::SYN, TcpFlags::FIN, TcpFlags::ACK, TcpFlags::RST);
        let mut course = Course::default();
        course.device_sent(segment(100, syn), 0);
        assert_eq!(course.patience(Protocol::Tcp), minutes(4));
        assert_eq!(course.numbers(), Numbers { to_device: None, to_site: Some(101) });
        course.site_sent(segment(u32::MAX, syn.with(ack)), 0);
        assert_eq!(course.patience(Protocol::Tcp), minutes(124));
        course.device_sent(segment(101, ack), 50);
        course.device_sent(segment(101, ack), 20); // again
        course.site_sent(segment(0, ack), 10);
        assert_eq!(course.numbers(), Numbers { to_device: Some(10), to_site: Some(151) });
        course.device_sent(segment(151, fin.with(ack)), 0);
        assert_eq!(course.patience(Protocol::Tcp), minutes(124));
        course.site_sent(segment(10, fin.with(ack)), 0);
        assert_eq!(course.patience(Protocol::Tcp), minutes(4));
        assert_eq!(course.numbers(), Numbers { to_device: Some(11), to_site: Some(152) });
        let mut course = Course::default();
        course.device_sent(segment(1, syn), 0);
        course.site_sent(segment(1, rst.with(ack)), 0);
        assert_eq!(course.patience(Protocol::Tcp), minutes(4));
        assert_eq!(course.patience(Protocol::Udp), minutes(2));
    }
}
