use super::{AUTH, SECRET, converse, socks};
use crate::{Conversation, Output};

/// `request` gets an empty 421: no content, no permission, no sign of whose port this is.
fn check_gets_nothing(request: &str) {
    let seen = converse(request);
    let expected = "HTTP/1.1 421 Misdirected Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(seen.text(), expected, "{request}");
    assert!(seen.is_closed && seen.asked.is_none() && seen.passed.is_empty(), "{request}");
}

#[test]
fn g02_cve_2022_41924_a_page_that_rebinds_its_name_to_the_port_gets_nothing() {
    let page = "Origin: http://evil.example\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n";
    for host in ["evil.example:1080", "127.0.0.1:1080", "localhost:1080", "wiki.demo"] {
        for method in ["GET", "POST", "PUT", "OPTIONS", "HEAD"] {
            check_gets_nothing(&format!("{method} / HTTP/1.1\r\nHost: {host}\r\n{page}\r\n"));
            check_gets_nothing(&format!("{method} /a?b HTTP/1.1\r\nHost: {host}\r\n{AUTH}{page}\r\n"));
        }
    }
}

#[test]
fn g02_a_page_that_finds_the_port_gets_nothing() {
    let rows = [
        // A cross-site request that needs no permission, and one that asks for it.
        "POST / HTTP/1.1\r\nHost: 127.0.0.1:1080\r\nOrigin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n\
         Content-Type: text/plain\r\nContent-Length: 3\r\n\r\n\x05\x01\x02",
        "OPTIONS / HTTP/1.1\r\nHost: 127.0.0.1:1080\r\nOrigin: https://evil.example\r\n\
         Access-Control-Request-Method: CONNECT\r\nAccess-Control-Request-Headers: proxy-authorization\r\n\
         Access-Control-Request-Private-Network: true\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:1080\r\n\r\n",
        // A WebSocket, whose answers any page may read.
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:1080\r\nOrigin: https://evil.example\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        // A path that looks like a proxied address.
        "GET /http://wiki.demo/ HTTP/1.1\r\nHost: 127.0.0.1:1080\r\n\r\n",
        "GET //wiki.demo/ HTTP/1.1\r\nHost: 127.0.0.1:1080\r\n\r\n",
    ];
    for request in rows {
        check_gets_nothing(request);
    }
}

#[test]
fn g02_what_a_page_puts_into_a_body_is_never_read_as_a_request() {
    let inner = format!("CONNECT wiki.demo:443 HTTP/1.1\r\n{AUTH}\r\n").into_bytes();
    for body in [inner, socks("wiki.demo", 80)] {
        let mut request =
            format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        request.extend(body);
        let seen = converse(request);
        assert_eq!((seen.first_line().as_str(), seen.asked), ("HTTP/1.1 421 Misdirected Request", None));
    }
}

#[test]
fn g02_a_browser_that_uses_the_proxy_is_served_and_one_without_the_password_is_not() {
    let fields = "Host: wiki.demo\r\nOrigin: http://other.demo\r\nSec-Fetch-Site: cross-site\r\n\
                  Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n";
    let seen = converse(format!("GET http://wiki.demo/ HTTP/1.1\r\n{fields}{AUTH}\r\n"));
    assert_eq!(seen.destination(), "wiki.demo:80");
    assert!(seen.head().contains("\r\nOrigin: http://other.demo\r\nSec-Fetch-Site: cross-site\r\n"));
    let seen = converse(format!("GET http://wiki.demo/ HTTP/1.1\r\n{fields}\r\n"));
    assert!(seen.asked.is_none() && seen.text().starts_with("HTTP/1.1 407 "));
    assert!(!seen.text().to_ascii_lowercase().contains("access-control"));
}

#[test]
fn c03_only_the_whole_secret_opens() {
    let mut wrong = vec![String::new(), SECRET.to_uppercase(), format!("{SECRET}0"), format!(" {SECRET}")];
    wrong.extend((1..SECRET.len()).map(|length| SECRET.chars().take(length).collect()));
    for password in wrong {
        let mut bytes = b"\x05\x01\x02\x01\x00".to_vec();
        bytes.push(u8::try_from(password.len()).unwrap());
        bytes.extend(password.as_bytes());
        bytes.extend(&socks("wiki.demo", 80)[3..]);
        let seen = converse(bytes);
        assert_eq!((seen.replies, seen.asked), (vec![5, 2, 1, 1], None), "{password}");
        assert!(seen.is_closed);
    }
}

#[test]
fn c03_an_empty_secret_opens_nothing() {
    let requests: [&[u8]; 2] = [
        b"\x05\x01\x02\x01\x00\x00\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50",
        b"CONNECT wiki.demo:80 HTTP/1.1\r\nProxy-Authorization: Basic Og==\r\n\r\n",
    ];
    for request in requests {
        let mut conversation = Conversation::new(&String::new().into());
        let _ = conversation.handle(request);
        while let Some(output) = conversation.poll() {
            assert!(matches!(output, Output::Reply(_) | Output::Close));
        }
    }
}

#[test]
fn e03_other_spellings_of_an_address_are_answered_like_what_does_not_exist() {
    for name in ["127.1", "0177.0.0.1", "0x7f000001", "2130706433", "10.0.0.1."] {
        let seen = converse(format!("CONNECT {name}:80 HTTP/1.1\r\n{AUTH}\r\n"));
        assert_eq!((seen.first_line().as_str(), seen.asked), ("HTTP/1.1 502 Bad Gateway", None), "{name}");
        let seen = converse(socks(name, 80));
        assert_eq!((seen.replies.get(4..6), seen.asked), (Some(&[5, 4][..]), None), "{name}");
    }
    // In its one strict spelling an address is asked about exactly: nothing is mapped from one family to another.
    for (name, asked) in [("0.0.0.0", "0.0.0.0:80"), ("::ffff:10.0.0.1", "[::ffff:10.0.0.1]:80")] {
        assert_eq!(converse(socks(name, 80)).destination(), asked);
    }
}

#[test]
fn g03_what_is_logged_of_a_conversation_holds_nothing_of_it() {
    let mut conversation = Conversation::new(&SECRET.to_owned().into());
    let request = format!("GET http://wiki.demo/ HTTP/1.1\r\n{AUTH}Cookie: session=hunter2\r\n\r\n");
    let (start, rest) = request.split_at(130);
    let mut printed = String::new();
    for part in [start, rest] {
        let _ = conversation.handle(part.as_bytes());
        printed += &format!("{conversation:?} ");
    }
    conversation.answer(crate::Verdict::Connected);
    while let Some(output) = conversation.poll() {
        printed += &format!("{output:?} ");
    }
    let words: Vec<_> = printed.split(' ').collect();
    assert_eq!(words[..2], ["Head", "Asked"]);
    for secret in [SECRET, "YW5hOj", "hunter2"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn e11_smuggling_a_body_whose_end_two_servers_could_see_differently_is_refused() {
    let rows = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\r\n : chunked\r\n",
    ];
    for fields in rows {
        for target in ["POST http://wiki.demo/", "CONNECT wiki.demo:80"] {
            let seen = converse(format!("{target} HTTP/1.1\r\n{AUTH}{fields}\r\n5\r\nhello\r\n0\r\n\r\n"));
            assert_eq!(seen.first_line(), "HTTP/1.1 400 Bad Request", "{fields}");
            assert!(seen.is_closed && seen.asked.is_none(), "{fields}");
        }
    }
    for fields in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
        let seen = converse(format!("CONNECT wiki.demo:80 HTTP/1.1\r\n{AUTH}{fields}\r\n"));
        assert_eq!(seen.first_line(), "HTTP/1.1 400 Bad Request", "{fields}");
    }
    let seen =
        converse(format!("POST http://wiki.demo/ HTTP/1.0\r\n{AUTH}Transfer-Encoding: chunked\r\n\r\n"));
    assert_eq!(seen.first_line(), "HTTP/1.1 400 Bad Request");
}

#[test]
fn e11_smuggling_the_connection_field_cannot_take_the_frame_off_a_body() {
    let fields = "Connection: Content-Length, Host, Transfer-Encoding\r\nContent-Length: 5\r\n";
    let seen = converse(format!("POST http://wiki.demo/ HTTP/1.1\r\n{AUTH}{fields}\r\nhelloGET /"));
    assert!(seen.head().contains("\r\nHost: wiki.demo\r\nContent-Length: 5\r\n"), "{}", seen.head());
    assert!(seen.head().ends_with("\r\n\r\nhello"));
}

#[test]
fn e11_smuggling_a_second_request_never_reaches_the_first_ones_server() {
    let second = format!("GET http://payroll.demo/ HTTP/1.1\r\nHost: payroll.demo\r\n{AUTH}\r\n");
    let bodies = [
        ("", ""),
        ("Content-Length: 2\r\n", "hi"),
        ("Transfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\n"),
    ];
    for (fields, body) in bodies {
        let first = format!("POST http://wiki.demo/ HTTP/1.1\r\n{AUTH}{fields}\r\n{body}");
        let seen = converse(first + &second);
        assert_eq!(seen.destination(), "wiki.demo:80");
        assert!(!seen.head().contains("payroll") && seen.head().ends_with(&format!("\r\n\r\n{body}")));
    }
}

#[test]
fn other_protocols_are_turned_away_at_their_first_byte() {
    for first in [0_u8, 1, 4, b'\r', b'\n', b' ', 0x16, 0x80, 0xff] {
        let seen = converse([first]);
        assert_eq!(seen.first_line(), "HTTP/1.1 400 Bad Request", "{first:#x}");
        assert!(seen.is_closed);
    }
}
