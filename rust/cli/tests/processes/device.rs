//! Applications that know nothing of a proxy, in a network and with an `/etc` of the test's own.

use std::fs;
use std::net::IpAddr;

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::chromium::Window;
use crate::process::{PATIENCE, Said, run, until};
use crate::sandbox::sandbox;
use crate::world::World;

async fn curl(host: &str) -> Said {
    run("curl", &["--silent", "--show-error", "--max-time", "20", &format!("http://{host}/")], "").await
}

/// What a connector may have changed in this machine's network.
async fn network() -> String {
    let mut all = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    for what in [&["rule"][..], &["-6", "rule"], &["route", "show", "table", "all"], &["-o", "link"]] {
        all += &run("ip", what, "").await.out;
    }
    all
}

/// What this machine's TCP has counted (`/proc/net/netstat`: a line of names, and one of numbers).
fn counted(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/net/netstat").unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let numbers = lines.chunks(2).flat_map(|pair| pair[0].split(' ').zip(pair[1].split(' ')));
    numbers.filter(|(known, _)| *known == name).map(|(_, number)| number.parse::<u64>().unwrap()).sum()
}

async fn world() -> World {
    let world = World { door: &[], ..World::new().await };
    // What is not the organisation's would be asked elsewhere, and here is nobody to ask.
    world.done(&["settings", "set", "suffixes", "[\"test\"]"]).await;
    world
}

#[test]
fn applications_reach_what_is_granted_by_its_name_and_nothing_else() {
    sandbox(async |_| {
        let world = world().await;
        let before = network().await;
        let mut ana = world.sign_in().await;
        for name in ["wiki", "board"] {
            let said = curl(&format!("{name}.test")).await;
            assert_eq!((said.code, said.out), (0, format!("This is the {name}.\n")), "{}", said.err);
        }
        assert_eq!(counted("TCPSynRetrans"), 0, "the first packet waits for its grant, and is not lost");
        // 7: no connection; 6: no such name.
        for (host, code) in [("payroll.test", 7), ("ledger.test", 6), ("nothing.test", 6)] {
            let said = curl(host).await;
            assert_eq!(said.code, code, "{host}: {}{}", said.out, said.err);
        }
        let status = world.status().await;
        assert!(status["plane"]["tun"]["name"].as_str().unwrap().starts_with("openztna"), "{status}");
        ana.process.interrupt();
        assert!(ana.process.ended(PATIENCE).await.success());
        assert_eq!(network().await, before);
    });
}

/// Browsers keep pages of a public network from asking a local one: both families of a name must look alike to them.
#[test]
fn p6_3_a_page_of_one_family_may_use_the_other() {
    sandbox(async |_| {
        let world = world().await;
        let _ana = world.sign_in().await;
        let (wiki, board) = (addresses("wiki.test").await, addresses("board.test").await);
        for (own, other) in [(&wiki[0], &board[1]), (&wiki[1], &board[0])] {
            let rules = format!("--host-resolver-rules=MAP wiki.test {own}, MAP board.test {other}");
            let window = Window::open_with(&world.org, &[&rules], json!({})).await;
            window.go("http://wiki.test/with/board.test").await;
            assert_eq!(window.get("/title").await, "by the board", "{own} {other}");
            window.close().await;
        }
    });
}

/// A name's two addresses, as they stand in a URL: IPv4, IPv6.
async fn addresses(name: &str) -> [String; 2] {
    let found = tokio::net::lookup_host((name, 80)).await.unwrap();
    let mut found: Vec<IpAddr> = found.map(|at| at.ip()).collect();
    found.sort_unstable();
    match found.as_slice() {
        [IpAddr::V4(v4), IpAddr::V6(v6)] => [v4.to_string(), format!("[{v6}]")],
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn a_hold_ends_an_application_s_flow_and_the_next_one_is_refused() {
    sandbox(async |_| {
        let world = world().await;
        let _ana = world.sign_in().await;
        let mut open = TcpStream::connect(("wiki.test", 80)).await.unwrap();
        let mut other = TcpStream::connect(("wiki.test", 80)).await.unwrap();
        world.done(&["holds", "place", "resource:wiki", "--reason", "under repair"]).await;
        for stream in [&mut open, &mut other] {
            let ended = timeout(PATIENCE, stream.read_u8()).await.expect("it ends");
            assert!(ended.is_err());
        }
        assert_eq!(curl("wiki.test").await.code, 7);
    });
}

#[test]
fn a_connector_that_is_killed_leaves_nothing_that_the_next_does_not_mend() {
    sandbox(async |_| {
        let world = world().await;
        let before = network().await;
        let mut ana = world.sign_in().await;
        assert_eq!(curl("wiki.test").await.code, 0);
        assert_ne!(network().await, before);
        ana.process.kill().await;
        let mut ana = world.connect().await;
        until("the wiki answers", || async { (curl("wiki.test").await.code == 0).then_some(()) }).await;
        ana.process.interrupt();
        assert!(ana.process.ended(PATIENCE).await.success());
        assert_eq!(network().await, before);
    });
}
