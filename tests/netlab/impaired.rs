//! A bad network is as bad as it was told to be, and as bad the next time.

use std::time::Duration;

use tokio::time::timeout;
use ztna_model::{millis, secs};
use ztna_net::clock::Clock;

use crate::lab::probe::{bind, mirror, seen_at_last};
use crate::lab::{Access, Impairment, Lab, Nat, sandbox};

const MIRROR: &str = "203.0.113.10:7000";
const SINK: &str = "203.0.113.10:7001";

/// The numbers of 1000 datagrams of `length` bytes that arrive, in the order in which they do.
async fn arriving(impairment: Impairment, length: usize) -> Vec<u16> {
    let lab = Lab::new(Nat::PortRestricted);
    let _hop = lab.impair(impairment).await;
    let (sink, socket) = (bind(&lab.broker, SINK).await, bind(&lab.client, "0.0.0.0:0").await);
    lab.client.spawn(async move {
        for number in 0..1000_u16 {
            let mut datagram = number.to_be_bytes().to_vec();
            datagram.resize(length, 0);
            let _ = socket.send_to(&datagram, SINK).await; // lost here is lost
            tokio::time::sleep(millis(1)).await;
        }
    });
    let heard = async move {
        let (mut numbers, mut bytes) = (Vec::new(), [0; 2000]);
        while let Ok(Ok(_)) = timeout(secs(1), sink.recv(&mut bytes)).await {
            numbers.push(u16::from_be_bytes([bytes[0], bytes[1]]));
        }
        numbers
    };
    lab.broker.within(heard).await
}

fn distinct(numbers: &[u16]) -> usize {
    numbers.iter().collect::<std::collections::BTreeSet<_>>().len()
}

#[test]
fn a_wire_loses_repeats_and_reorders_as_it_is_told_and_the_next_time_the_same() {
    sandbox(|_| async {
        assert_eq!(arriving(Impairment::NONE, 100).await, (0..1000).collect::<Vec<u16>>());
        let bad = Impairment { seed: 7, loss: 50, duplicate: 20, reorder: 200, ..Impairment::NONE };
        let first = arriving(bad, 100).await;
        let (arrived, overtaken) =
            (distinct(&first), first.windows(2).filter(|pair| pair[1] < pair[0]).count());
        assert!((920..=980).contains(&arrived), "{arrived} of 1000 arrive, 950 should");
        assert!((8..=35).contains(&(first.len() - arrived)), "{} come twice", first.len() - arrived);
        assert!(overtaken >= 50, "{overtaken} come after one that was sent later");
        let lost =
            |numbers: &[u16]| (0..1000).filter(|number| !numbers.contains(number)).collect::<Vec<u16>>();
        assert_eq!(lost(&arriving(bad, 100).await), lost(&first), "a seed has it");
    });
}

#[test]
fn a_wire_is_as_slow_and_as_narrow_as_it_is_told() {
    sandbox(|_| async {
        let short = Impairment { mtu: Some(1300), ..Impairment::NONE };
        assert_eq!(arriving(short, 1272).await.len(), 1000, "1300 bytes with their headers");
        assert_eq!(arriving(short, 1273).await, Vec::<u16>::new());
        // 1000 datagrams of 1028 bytes with their headers, in one to four seconds: a tenth of the first second's passes in
        // each, and what waits in the queue.
        let narrow = Impairment { rate: Some(102_800), ..Impairment::NONE };
        let passed = arriving(narrow, 1000).await.len();
        assert!((100..=500).contains(&passed), "{passed}");
        let lab = Lab::new(Nat::PortRestricted);
        let hop = lab.impair(Impairment { delay: millis(50), jitter: millis(10), ..Impairment::NONE }).await;
        mirror(&lab.broker, MIRROR).await;
        let socket = bind(&lab.client, "0.0.0.0:0").await;
        seen_at_last(&lab.client, &socket, MIRROR).await;
        let start = Clock.now();
        seen_at_last(&lab.client, &socket, MIRROR).await;
        let took: Duration = Clock.now().since(start);
        assert!((millis(100)..millis(190)).contains(&took), "{took:?}");
        hop.becomes(Impairment { is_cut: true, ..Impairment::NONE });
        assert_eq!(crate::lab::probe::seen_by(&lab.client, &socket, MIRROR).await, None);
        hop.becomes(Impairment::NONE);
        seen_at_last(&lab.client, &socket, MIRROR).await;
        lab.move_to(Access::Mobile);
        let socket = bind(&lab.client, "0.0.0.0:0").await;
        seen_at_last(&lab.client, &socket, MIRROR).await;
    });
}
