//! All bytes arrive, through a broker, a gateway and a connector that are processes of their own. How fast that goes is
//! printed, not judged: machines differ.

use std::fs::File;

use crate::curl::{Way, curl};
use crate::world::World;

#[tokio::test]
async fn curl_moves_all_its_bytes_both_ways() {
    let world = World::new().await;
    let ana = world.sign_in().await;
    let bytes = megabytes() << 20;

    let page = format!("wiki.test/many/{bytes}");
    let speed = ["-o", "/dev/null", "-w", "%{size_download} %{speed_download}"];
    let said = curl(&ana.proxy, Way::Socks, &page, &speed).await;
    let (size, speed) = said.out.split_once(' ').unwrap();
    assert_eq!((said.code, size.parse()), (0, Ok(bytes)), "{}", said.err);
    report("down", speed);

    let file = world.dir.path("zeros");
    File::create(&file).unwrap().set_len(bytes).unwrap();
    let file = file.to_str().unwrap();
    let speed = ["-T", file, "-H", "Expect:", "-w", "%{size_upload} %{speed_upload}"];
    let said = curl(&ana.proxy, Way::Socks, "wiki.test/", &speed).await;
    let (answer, speed) = said.out.split_once('\n').unwrap();
    assert_eq!((said.code, answer), (0, format!("{bytes} bytes").as_str()), "{}", said.err);
    report("up", speed.split(' ').nth(1).unwrap());
}

fn report(way: &str, bytes_per_second: &str) {
    let rate = bytes_per_second.parse::<f64>().unwrap() * 8.0 / 1e9;
    println!("proxy, {way}: {rate:.2} Gbit/s (three processes, curl)");
}

/// How much to move: more where it is to be measured.
fn megabytes() -> u64 {
    std::env::var("OPENZTNA_SPEED_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(16)
}
