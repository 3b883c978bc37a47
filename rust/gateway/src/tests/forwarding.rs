use ztna_model::Protocol;
use ztna_netstack::Event;

use super::site::{For, Site, echo, nobody, udp_echo};
use super::*;

#[test]
fn a_lease_lets_bytes_through_both_ways() {
    let wiki = echo();
    let mut site = Site::new(&[&wiki.to_string()]);
    let mut device = site.device();
    site.grant(&device, &For::tcp(7, wiki));
    let stream = device.dial(Protocol::Tcp, 7, 80);
    device.connected(stream);
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    device.send(stream, &bytes[..100]);
    assert_eq!(device.receive(stream, 100), bytes[..100]);
    let mut back = Vec::new();
    for chunk in bytes.chunks(50_000) {
        device.send(stream, chunk);
        back.extend(device.receive(stream, chunk.len()));
    }
    assert!(back == bytes);
    // Each direction ends by itself: the application hears the end, and then ends its own.
    device.netstack.shutdown_write(stream);
    device.event(stream, |event| event == Event::PeerClosed);
    device.event(stream, |event| event == Event::Closed);
}
