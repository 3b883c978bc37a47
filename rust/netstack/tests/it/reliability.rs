use proptest::prelude::*;
use ztna_model::{Protocol, millis};
use ztna_netstack::Limits;

use crate::net::{FAIR, Net, Weather, flow, flow_v6};
use crate::transfer::{Talk, talk};

fn check(weather: Weather, buffers: [usize; 2], lengths: [usize; 2], seed: u64, v6: bool) {
    let [client, gateway] = buffers;
    let limits = [
        Limits { buffer_per_flow: client, ..Limits::DESKTOP },
        Limits { buffer_per_flow: gateway, ..Limits::GATEWAY },
    ];
    // The handshake may fail in bad weather, as it should; what has begun may not.
    let mut net = Net::new(FAIR, limits, seed);
    let flow = if v6 { flow_v6(Protocol::Tcp, 5000) } else { flow(Protocol::Tcp, 5000) };
    let streams = net.connection(flow);
    net.weather = weather;
    let [up, down] = lengths;
    talk(&mut net, streams, [Talk::new(up, seed as u8), Talk::new(down, !seed as u8)]);
}

#[test]
fn bytes_arrive_in_every_weather() {
    let bad = Weather { delay: millis(20), lost: 5, late: 0, twice: 0 };
    let rows = [
        (FAIR, [256 << 10, 256 << 10], [0, 0]),
        (FAIR, [256 << 10, 256 << 10], [3_000_000, 3_000_000]),
        (FAIR, [8 << 10, 256 << 10], [200_000, 200_000]),
        (Weather { late: 30, ..FAIR }, [64 << 10, 256 << 10], [500_000, 500_000]),
        (Weather { twice: 50, ..FAIR }, [256 << 10, 64 << 10], [500_000, 500_000]),
        (bad, [256 << 10, 256 << 10], [300_000, 300_000]),
        (Weather { late: 20, twice: 20, ..bad }, [256 << 10, 256 << 10], [300_000, 300_000]),
        (Weather { lost: 30, ..bad }, [16 << 10, 256 << 10], [60_000, 10]),
    ];
    for (i, (weather, buffers, lengths)) in rows.into_iter().enumerate() {
        for v6 in [false, true] {
            check(weather, buffers, lengths, i as u64, v6);
        }
    }
}

proptest! {
    #[test]
    fn any_weather_delivers_the_same_bytes(
        (lost, late, twice) in (0_u64..15, 0_u64..40, 0_u64..40),
        delay in 0_u64..100,
        sizes in (13_u32..19, 13_u32..19),
        lengths in (0_usize..80_000, 0_usize..80_000),
        seed: u64,
        v6: bool,
    ) {
        let weather = Weather { delay: millis(delay), lost, late, twice };
        check(weather, [1 << sizes.0, 1 << sizes.1], [lengths.0, lengths.1], seed, v6);
    }
}
