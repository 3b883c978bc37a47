//! A broker's life as a process: what a kill leaves, how it stops, how much of it one source may have.

use std::process::{Command, Stdio};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use ztna_api::admin::{Answer, Group, Op};
use ztna_broker::admin::{CallError, Client, LocalAnswer, LocalOp};
use ztna_broker::{Config, HomeError, StartError};
use ztna_model::{OrgString, millis, secs};
use ztna_net::clock::Clock;
use ztna_net::tls::{self, Alpn, Trust};

use crate::dir::TempDir;
use crate::phone::Phone;
use crate::world::World;

/// Says where to serve, to the process that is going to be killed.
const PLACE: &str = "ZTNA_BROKER_TEST_STATE";

/// Does something only where `what_was_answered_is_there_after_a_kill` runs it in a process of its own.
#[test]
fn the_process_that_is_killed() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let config = at(&place);
    tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(async { ztna_broker::run(config, std::future::pending()).await.unwrap() });
}

fn at(place: &str) -> Config {
    let mut config = Config {
        origin: Some("https://acme.example".parse().unwrap()),
        state_dir: place.into(),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        ..Config::default()
    };
    config.gateways.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config
}

async fn connect(config: &Config) -> Client {
    tokio::time::timeout(secs(20), async {
        loop {
            match Client::connect(&config.admin_socket()).await {
                Ok(client) => return client,
                Err(_) => tokio::time::sleep(millis(10)).await,
            }
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn p8_what_was_answered_is_there_after_a_kill() {
    let dir = TempDir::new();
    let place = dir.path("state").display().to_string();
    let config = at(&place);
    let mut made = 0;
    for round in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["life::the_process_that_is_killed", "--exact", "--nocapture"])
            .env(PLACE, &place)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut client = connect(&config).await;
        let Answer::Groups { groups } = client.ask(Op::Groups {}).await.unwrap() else { panic!() };
        assert_eq!(groups.len(), made, "round {round}: each that was answered is there");
        let log = client.ask_local(LocalOp::AuditVerify { writer: None, witness: None }).await;
        let Ok(LocalAnswer::Verified { length, .. }) = log else { panic!("{log:?}") };
        assert!(length >= made as u64, "and its row");
        for _ in 0..10 {
            let id = format!("g{made}").parse().unwrap();
            let group = Group { id, title: "Group".into(), claims: Default::default() };
            client.ask(Op::GroupPut { group }).await.unwrap();
            made += 1;
        }
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
    }
}

#[tokio::test]
async fn one_process_has_charge_of_a_state_directory() {
    let world = World::new().await;
    let mut config = at(&world.config.state_dir.display().to_string());
    config.origin = world.config.origin.clone();
    let second = ztna_broker::Broker::start(config).await.err();
    assert!(matches!(second, Some(StartError::Home(HomeError::Taken(_)))), "{second:?}");
    world.ask(Op::Status {}).await;
}

#[tokio::test]
async fn stopping_is_prompt_whoever_is_connected_and_leaves_nothing_behind() {
    let mut world = World::new().await;
    world.person("ana").await;
    let mut phone = Phone::of(&world, "ana").await;
    let mut device = phone.stream(&world).await;
    device.wait_for("resources").await;
    let gate = world.gateway("gw-1").await;
    let mut gateway = gate.connect(&world).await;
    gateway.listed().await;
    let silent = TcpStream::connect(world.public).await.unwrap(); // and says nothing
    let mut idle = tls_stream(&world.org, world.public).await;
    let mut admin = world.admin().await;
    admin.ask(Op::Status {}).await.unwrap();
    let device = tokio::spawn(async move { device.closed().await });
    let gateway = tokio::spawn(async move {
        loop {
            if let Err(close) = gateway.next().await {
                return close;
            }
        }
    });
    let begun = Clock.now();
    world.stop().await;
    let took = Clock.now().since(begun);
    assert!(took < secs(12), "{took:?}");
    assert_eq!((device.await.unwrap(), gateway.await.unwrap()), (Some(1012), Some(1012)));
    assert!(matches!(
        admin.ask(Op::Status {}).await,
        Err(CallError::Broken(_) | CallError::NotUnderstood(_))
    ));
    let mut rest = vec![];
    let _ = idle.read_to_end(&mut rest).await; // it ends, in whatever way
    drop(silent);
    assert!(!world.state("admin.sock").exists());
    assert!(TcpStream::connect(world.public).await.is_err());
    world.start().await;
    phone.stream(&world).await.wait_for("resources").await;
}

async fn tls_stream(
    org: &OrgString,
    address: std::net::SocketAddr,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let tls = tls::client_config(&Trust::Pinned(org.root.unwrap()), None, Alpn::Http1).unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    tls::connect(tcp, tls::server_name(&org.org).unwrap(), tls, secs(10)).await.unwrap()
}

#[tokio::test]
async fn h01_connections_beyond_a_source_s_share_are_closed_unheard_and_places_come_back() {
    let world = World::with(|config| config.limits.connections_per_source = 4).await;
    let mut held = vec![];
    for _ in 0..4 {
        held.push(tls_stream(&world.org, world.public).await);
    }
    // Gateways' connections count with the others.
    for address in [world.public, world.gateways] {
        let mut fifth = TcpStream::connect(address).await.unwrap();
        let mut answer = [0; 1];
        let ended = tokio::time::timeout(secs(5), fifth.read(&mut answer)).await.unwrap();
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
    drop(held.pop());
    let answer = tokio::time::timeout(secs(5), async {
        loop {
            if let Ok(answer) = world.http().get(world.url("/.well-known/openztna")).send().await {
                return answer.status().as_u16();
            }
        }
    });
    assert_eq!(answer.await.unwrap(), 200);
}

#[tokio::test]
async fn h01_connections_that_never_begin_tls_keep_nobody_out() {
    let world = World::new().await;
    for address in [world.public, world.gateways] {
        let mut silent = vec![];
        for _ in 0..200 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let one_more = tokio::time::timeout(secs(5), tls_stream(&world.org, address)).await;
        assert!(one_more.is_ok(), "{address}");
    }
}

#[tokio::test]
async fn h01_who_sends_slowly_is_not_waited_for() {
    let world = World::new().await;
    let mut slow = tls_stream(&world.org, world.public).await;
    slow.write_all(b"GET /.well-known/openztna HTTP/1.1\r\nhost: x\r\n").await.unwrap(); // and no more
    let mut silent = tls_stream(&world.org, world.public).await; // says nothing at all
    for stream in [&mut slow, &mut silent] {
        let mut rest = vec![];
        let ended = tokio::time::timeout(secs(20), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "ten seconds for the headers");
    }
}
