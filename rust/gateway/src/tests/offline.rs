use ztna_api::gateway::{Beat, Offered};
use ztna_model::Protocol;

use super::device::Device;
use super::site::{For, Site, echo};
use super::*;
use crate::config::LeasesConfig;
use crate::file::{BeatFile, LeaseFile};
use crate::resolver::Resolver;
use crate::status::Source;

/// A gateway that follows a file, and the run that it says it is in.
fn offline(reach: &[&str]) -> (Site, BeatFile) {
    let mut site = Site::enrolled(reach);
    site.config.org = Some(site.broker.org_string());
    site.config.leases =
        LeasesConfig { file: Some(site.home.path("leases.json")), gateway: Some(GATEWAY.parse().unwrap()) };
    site.start_alone(Resolver::System);
    let give_up = Clock.now() + PATIENCE;
    loop {
        if let Ok(text) = std::fs::read(site.home.path("beat.json")) {
            return (site, serde_json::from_slice(&text).unwrap());
        }
        assert!(Clock.now() < give_up);
        std::thread::yield_now();
    }
}

fn write(site: &Site, leases: &[&Lease]) {
    let script = &site.broker.script;
    let leases =
        leases.iter().map(|lease| Offered { lease: script.sign(lease), carriers: Vec::new() }).collect();
    let file = LeaseFile { keys: script.keys(1), incarnation: script.incarnation, leases };
    ztna_net::fs::write_private(&site.home.path("leases.json"), &serde_json::to_vec(&file).unwrap()).unwrap();
}

#[test]
fn leases_from_a_file_are_checked_like_any_other() {
    let wiki = echo();
    let (site, beat) = offline(&[&wiki.to_string()]);
    let mut device = Device::new();
    device.meet(beat.wg_pub, &beat.carriers);
    let on = Beat { run: beat.run, now: beat.now };
    let lease = site.lease_on(on, &device, &For::tcp(1, wiki));
    let other_run =
        Lease { run: ztna_model::RunId([1; 16]), ..site.lease_on(on, &device, &For::tcp(2, wiki)) };
    write(&site, &[&lease, &other_run]);
    site.plane_when(|plane| plane.leases == 1);
    let stream = device.dial(Protocol::Tcp, 1, 80);
    device.connected(stream);
    device.send(stream, b"hello");
    assert_eq!(device.receive(stream, 5), b"hello");
    let status = site.status();
    assert!(matches!(status.source, Source::File { read: Some(_), trouble: None }), "{:?}", status.source);
    assert_eq!(status.plane.declined[&LeaseError::WrongRun], 1);

    // What is not in the file any more goes.
    write(&site, &[]);
    device.reset(stream);
    assert_eq!(site.status().plane.leases, 0);
}

#[test]
fn c02_a_file_that_nobody_signed_changes_nothing() {
    let wiki = echo();
    let (site, beat) = offline(&[&wiki.to_string()]);
    let mut device = Device::new();
    device.meet(beat.wg_pub, &beat.carriers);
    let lease = site.lease_on(Beat { run: beat.run, now: beat.now }, &device, &For::tcp(1, wiki));
    write(&site, &[&lease]);
    site.plane_when(|plane| plane.leases == 1);
    for text in [
        "",
        "{}",
        "not json",
        r#"{"keys":"a.b.c","incarnation":"00000000000000000000000000000000","leases":[]}"#,
    ] {
        ztna_net::fs::write_private(&site.home.path("leases.json"), text.as_bytes()).unwrap();
        site.status_when(|status| matches!(status.source, Source::File { trouble: Some(_), .. }));
        assert_eq!(site.status().plane.leases, 1, "{text}");
        write(&site, &[&lease]);
        site.status_when(|status| matches!(status.source, Source::File { trouble: None, .. }));
    }
}
