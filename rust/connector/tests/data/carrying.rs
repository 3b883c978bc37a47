use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::gateway::Leads;
use crate::world::{PORT, World, echo, head, rest, server};

async fn echoes(mut stream: TcpStream, text: &[u8]) {
    stream.write_all(text).await.unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(back, text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_is_reached_by_connect_and_by_socks() {
    let world = World::new().await;
    world.grant(1, echo().await).await;
    echoes(world.tunnel(1).await, b"through CONNECT").await;
    let (code, stream) = world.socks("app-1.demo", PORT).await;
    assert_eq!(code, 0);
    echoes(stream, b"through SOCKS").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_is_reached_by_either_address_family() {
    let world = World::new().await;
    let grant = world.grant(1, echo().await).await;
    let v6 = ztna_model::Synthetic::from_index(1).v6;
    assert!(grant.covers.covers(v6.into()));
    world.gateway.route(ztna_model::Endpoint::new(v6.into(), PORT), echo().await).await;
    let (answer, stream) = world.connect(&format!("v6-1.demo:{PORT}")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    echoes(stream, b"by IPv6 inside").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_request_reaches_its_server_and_nothing_behind_it_does() {
    let world = World::new().await;
    let serve = |mut stream: TcpStream| async move {
        let heard = head(&mut stream).await;
        let mut body = [0; 5];
        stream.read_exact(&mut body).await.unwrap();
        assert_eq!(&body, b"hello");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{heard}", heard.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        // Only the end may follow.
        assert_eq!(rest(&mut stream).await, b"");
    };
    world.grant(1, Leads::To(server(serve).await)).await;
    let mut stream = world.call().await;
    let request = format!(
        "POST http://app-1.demo/a?b HTTP/1.1\r\nHost: app-1.demo\r\nContent-Length: 5\r\n{}\r\nhello\
         GET http://app-2.demo/ HTTP/1.1\r\nHost: app-2.demo\r\n\r\n",
        world.credentials()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.write_all(&[b'x'; 100_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = String::from_utf8(rest(&mut stream).await).unwrap();
    assert!(answer.contains("POST /a?b HTTP/1.1\r\n"), "{answer}");
    assert!(!answer.contains("Proxy-Authorization") && !answer.contains("app-2"), "{answer}");
    world.until(|status| status.streams == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_ahead_of_the_answer_is_not_lost() {
    let world = World::new().await;
    world.grant(1, echo().await).await;
    let mut stream = world.call().await;
    let ahead = vec![7; 200_000];
    let request =
        format!("CONNECT app-1.demo:80 HTTP/1.1\r\nHost: app-1.demo\r\n{}\r\n", world.credentials());
    let (mut read, mut write) = stream.split();
    let sends = async {
        write.write_all(&[request.as_bytes(), &ahead].concat()).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut answer = Vec::new();
    let (_, _) = tokio::join!(sends, async { read.read_to_end(&mut answer).await.unwrap() });
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(answer[at..] == ahead[..], "{} bytes of {}", answer.len() - at, ahead.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_direction_ends_by_itself() {
    let world = World::new().await;
    // Answers only once it has heard everything.
    let counts = |mut stream: TcpStream| async move {
        let heard = rest(&mut stream).await;
        stream.write_all(heard.len().to_string().as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    };
    // Says what it has to say and still listens.
    let (heard, mut told) = tokio::sync::mpsc::channel(1);
    let greets = move |mut stream: TcpStream| {
        let heard = heard.clone();
        async move {
            stream.write_all(b"hello").await.unwrap();
            stream.shutdown().await.unwrap();
            heard.send(rest(&mut stream).await).await.unwrap();
        }
    };
    world.grant(1, Leads::To(server(counts).await)).await;
    world.grant(2, Leads::To(server(greets).await)).await;

    let mut stream = world.tunnel(1).await;
    stream.write_all(&vec![1; 3_000_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, b"3000000");

    let mut stream = world.tunnel(2).await;
    assert_eq!(rest(&mut stream).await, b"hello");
    stream.write_all(b"and back").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(told.recv().await.unwrap(), b"and back");
    world.until(|status| status.streams == 0).await;
}

/// Ten megabytes each way at once, through flows that take turns: nothing is lost, doubled or out of order.
#[tokio::test(flavor = "multi_thread")]
async fn much_passes_both_ways_at_once() {
    const EACH: usize = 10 << 20;
    let world = World::new().await;
    world.grant(1, echo().await).await;
    let flows = (0..4u8).map(async |seed| {
        let mut stream = world.tunnel(1).await;
        let bytes: Vec<u8> = (0..EACH / 4).map(|at| (at / 251) as u8 ^ at as u8 ^ seed).collect();
        let (mut read, mut write) = stream.split();
        let mut back = Vec::new();
        let sends = async {
            write.write_all(&bytes).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let (_, _) = tokio::join!(sends, async { read.read_to_end(&mut back).await.unwrap() });
        assert!(back == bytes, "{} bytes came back", back.len());
    });
    futures_util::future::join_all(flows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_breaks_off_breaks_the_other() {
    let world = World::new().await;
    world.grant(1, echo().await).await;
    world
        .grant(2, Leads::To(server(async |stream: TcpStream| stream.set_zero_linger().unwrap()).await))
        .await;
    let stream = world.tunnel(1).await;
    stream.set_zero_linger().unwrap();
    drop(stream);
    world.gateway.until(|gateway| gateway.reset == 1 && gateway.streams == 0).await;
    let mut stream = world.tunnel(2).await;
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    world.until(|status| status.streams == 0).await;
}

/// A flow that has ended makes room in the table again, for all that it lingers a little.
#[tokio::test(flavor = "multi_thread")]
async fn flows_that_are_over_leave_the_table() {
    let world = World::new().await;
    world.grant(1, echo().await).await;
    for _ in 0..20 {
        let mut stream = world.tunnel(1).await;
        stream.write_all(b"x").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(rest(&mut stream).await, b"x");
    }
    assert!(world.plane.status().await.flows > 0);
    world.until(|status| status.flows == 0).await;
}
