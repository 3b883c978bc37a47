use super::{AUTH, Seen, converse};

/// What the application gets of `request`, or the status line of the refusal.
fn check(request: &str, destination: &str, expected: &str) {
    let seen = converse(request.replace("AUTH\r\n", AUTH));
    assert_eq!(seen.destination(), destination, "{request}");
    let got = if destination.is_empty() { seen.first_line() } else { seen.head() };
    assert_eq!(got, expected, "{request}");
    assert_eq!(seen.is_closed, destination.is_empty());
}

fn refused(request: &str, status: u16) -> Seen {
    let seen = converse(request.replace("AUTH\r\n", AUTH));
    assert_eq!((seen.destination().as_str(), seen.passed.as_slice()), ("", &b""[..]), "{request}");
    assert!(seen.first_line().starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{}", seen.text());
    seen
}

#[test]
fn a_plain_request_is_rewritten_for_its_application() {
    let rows = [
        (
            "GET http://wiki.demo/a?b HTTP/1.1\r\nHost: wiki.demo\r\nAUTH\r\nAccept: */*\r\n\r\n",
            "wiki.demo:80",
            "GET /a?b HTTP/1.1\r\nHost: wiki.demo\r\nAccept: */*\r\nVia: 1.1 openztna\r\nConnection: close\r\n\r\n",
        ),
        (
            "GET HTTP://WIKI.demo.:8080 HTTP/1.0\r\nAUTH\r\n\r\n",
            "wiki.demo:8080",
            "GET / HTTP/1.0\r\nHost: wiki.demo:8080\r\nVia: 1.0 openztna\r\nConnection: close\r\n\r\n",
        ),
        (
            "GET http://[2001:db8::1]?q HTTP/1.1\r\nAUTH\r\n\r\n",
            "[2001:db8::1]:80",
            "GET /?q HTTP/1.1\r\nHost: [2001:db8::1]\r\nVia: 1.1 openztna\r\nConnection: close\r\n\r\n",
        ),
        (
            "OPTIONS http://wiki.demo HTTP/1.1\r\nAUTH\r\n\r\n",
            "wiki.demo:80",
            "OPTIONS * HTTP/1.1\r\nHost: wiki.demo\r\nVia: 1.1 openztna\r\nConnection: close\r\n\r\n",
        ),
        // The host that was asked about is the one the application hears, whatever `Host` said.
        (
            "GET http://wiki.demo/ HTTP/1.1\r\nHost: payroll.demo\r\nAUTH\r\n\r\n",
            "wiki.demo:80",
            "GET / HTTP/1.1\r\nHost: wiki.demo\r\nVia: 1.1 openztna\r\nConnection: close\r\n\r\n",
        ),
        // What was meant for this connection or this proxy stays here.
        (
            "GET http://wiki.demo/ HTTP/1.1\r\nAUTH\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
             Proxy-Connection: keep-alive\r\nPROXY-Foo: 1\r\nTE: trailers\r\nUpgrade: websocket\r\n\
             HTTP2-Settings: AAMA\r\nTrailer: Digest\r\n\r\n",
            "wiki.demo:80",
            "GET / HTTP/1.1\r\nHost: wiki.demo\r\nTrailer: Digest\r\nVia: 1.1 openztna\r\nConnection: close\r\n\r\n",
        ),
    ];
    for (request, destination, expected) in rows {
        check(request, destination, expected);
    }
}

#[test]
fn a_body_goes_with_its_request() {
    let head = "POST / HTTP/1.1\r\nHost: wiki.demo\r\n";
    let end = "Via: 1.1 openztna\r\nConnection: close\r\n\r\n";
    let rows = [
        ("Content-Length: 5\r\n", "hello", "hello"),
        ("Content-Length: 5\r\n", "hello, world", "hello"),
        ("Content-Length: 0\r\n", "GET / HTTP/1.1\r\n\r\n", ""),
        ("", "GET / HTTP/1.1\r\n\r\n", ""),
        ("Transfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\nGET /", "2\r\nhi\r\n0\r\n\r\n"),
        ("Transfer-Encoding: CHUNKED\r\n", "0\r\n\r\n", "0\r\n\r\n"),
    ];
    for (fields, body, passes) in rows {
        let request = format!("POST http://wiki.demo/ HTTP/1.1\r\nAUTH\r\n{fields}\r\n{body}");
        check(&request, "wiki.demo:80", &format!("{head}{fields}{end}{passes}"));
    }
}

#[test]
fn a_tunnel_takes_everything() {
    for target in ["wiki.demo:443", "WIKI.demo.:443"] {
        let seen =
            converse(format!("CONNECT {target} HTTP/1.1\r\n{AUTH}Content-Length: 0\r\n\r\nGET / and more"));
        assert_eq!((seen.destination().as_str(), seen.head().as_str()), ("wiki.demo:443", "GET / and more"));
    }
}

#[test]
fn credentials() {
    let rows = [
        ("Proxy-Authorization: Basic YW5hOjBmMWUyZDNjNGI1YTY5Nzg4Nzk2YTViNGMzZDJlMWYw", true),
        ("proxy-authorization:basic   YW5hOjBmMWUyZDNjNGI1YTY5Nzg4Nzk2YTViNGMzZDJlMWYw ", true),
        ("Proxy-Authorization: Basic OjBmMWUyZDNjNGI1YTY5Nzg4Nzk2YTViNGMzZDJlMWYw", true), // no user name
        ("Proxy-Authorization: Basic MGYxZTJkM2M0YjVhNjk3ODg3OTZhNWI0YzNkMmUxZjA=", false), // no colon
        ("Proxy-Authorization: Basic YW5hOjBmMWUyZDNjNGI1YTY5Nzg4Nzk2YTViNGMzZDJlMWYx", false), // its last digit
        ("Proxy-Authorization: Basic YW5hOg==", false),
        ("Proxy-Authorization: Basic !", false),
        ("Proxy-Authorization: Basic", false),
        ("Proxy-Authorization: Bearer 0f1e2d3c4b5a69788796a5b4c3d2e1f0", false),
        ("Authorization: Basic YW5hOjBmMWUyZDNjNGI1YTY5Nzg4Nzk2YTViNGMzZDJlMWYw", false),
        ("X: y", false),
    ];
    for (field, is_let_in) in rows {
        let seen = converse(format!("CONNECT wiki.demo:443 HTTP/1.1\r\n{field}\r\n\r\n"));
        assert_eq!(seen.asked.is_some(), is_let_in, "{field}");
        if !is_let_in {
            assert!(seen.text().starts_with("HTTP/1.1 407 "), "{field}");
            assert!(seen.text().contains("\r\nProxy-Authenticate: Basic realm=\"openztna\"\r\n"), "{field}");
        }
    }
    refused(&format!("CONNECT wiki.demo:443 HTTP/1.1\r\n{AUTH}{AUTH}\r\n"), 407);
}

#[test]
fn after_a_challenge_the_same_connection_may_try_again() {
    let without = "GET http://wiki.demo/ HTTP/1.1\r\nHost: wiki.demo\r\n\r\n";
    let with = format!("GET http://wiki.demo/ HTTP/1.1\r\nHost: wiki.demo\r\n{AUTH}\r\n");
    for tries in 0..=3 {
        let seen = converse(without.repeat(tries) + &with);
        assert_eq!(seen.text().matches("HTTP/1.1 407 ").count(), tries);
        assert_eq!(seen.text().matches("Connection: close").count(), 0);
        assert_eq!(seen.destination(), "wiki.demo:80");
    }
    let seen = refused(&(without.repeat(4) + &with), 407);
    assert!(seen.is_closed && seen.text().matches("Connection: close").count() == 1);
}

#[test]
fn after_a_challenge_what_could_be_taken_for_a_request_is_not_read() {
    let rows = [
        "CONNECT wiki.demo:80 HTTP/1.1\r\n\r\n", // RFC 9931, 8: the next bytes may be the tunnel's
        "POST http://wiki.demo/ HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
        "POST http://wiki.demo/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET http://wiki.demo/ HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET http://wiki.demo/ HTTP/1.1\r\nProxy-Connection: Close\r\n\r\n",
        "GET http://wiki.demo/ HTTP/1.0\r\n\r\n",
    ];
    for request in rows {
        let seen = refused(&format!("{request}GET http://wiki.demo/ HTTP/1.1\r\n{AUTH}\r\n"), 407);
        assert!(seen.is_closed && seen.text().contains("\r\nConnection: close\r\n"), "{request}");
    }
}

#[test]
fn refused_requests() {
    let rows = [
        // No destination.
        ("CONNECT wiki.demo HTTP/1.1\r\nAUTH\r\n\r\n", 400),
        ("CONNECT wiki.demo: HTTP/1.1\r\nAUTH\r\n\r\n", 400),
        ("CONNECT wiki.demo:0 HTTP/1.1\r\nAUTH\r\n\r\n", 400),
        ("CONNECT :443 HTTP/1.1\r\nAUTH\r\n\r\n", 400),
        ("CONNECT http://wiki.demo/ HTTP/1.1\r\nAUTH\r\n\r\n", 400),
        ("CONNECT ana@wiki.demo:443 HTTP/1.1\r\nAUTH\r\n\r\n", 400),
        ("GET http:///path HTTP/1.1\r\nAUTH\r\n\r\n", 400),
        ("GET http://ana:pw@wiki.demo/ HTTP/1.1\r\nAUTH\r\n\r\n", 400),
        ("GET http://wiki.demo\\@payroll.demo/ HTTP/1.1\r\nAUTH\r\n\r\n", 400),
        ("GET http://wiki.demo/#part HTTP/1.1\r\nAUTH\r\n\r\n", 400),
        ("GET http:wiki.demo HTTP/1.1\r\nAUTH\r\n\r\n", 400),
        ("GET ftp://wiki.demo/ HTTP/1.1\r\nAUTH\r\n\r\n", 400),
        ("GET wiki.demo:80 HTTP/1.1\r\nAUTH\r\n\r\n", 400),
        ("GET http://wiki.demo/\u{fc} HTTP/1.1\r\nAUTH\r\n\r\n", 400),
        ("GET http://wiki%2edemo/ HTTP/1.1\r\nAUTH\r\n\r\n", 502),
        // Two readings of one head.
        ("GET http://wiki.demo/ HTTP/1.1\nAUTH\r\n\r\n", 400),
        ("GET http://wiki.demo/ HTTP/1.1\r\nHost: a\r\nHost: a\r\nAUTH\r\n\r\n", 400),
        ("GET http://wiki.demo/ HTTP/1.1\r\nX : y\r\nAUTH\r\n\r\n", 400),
        ("GET http://wiki.demo/ HTTP/1.1\r\nX: y\r\n folded\r\nAUTH\r\n\r\n", 400),
        ("GET http://wiki.demo/ HTTP/1.1\r\nX: y\rz\r\nAUTH\r\n\r\n", 400),
        ("GET http://wiki.demo/ HTTP/1.1\r\nX: y\0z\r\nAUTH\r\n\r\n", 400),
        ("GET http://wiki.demo/ x HTTP/1.1\r\nAUTH\r\n\r\n", 400),
        ("GET  http://wiki.demo/ HTTP/1.1\r\nAUTH\r\n\r\n", 400),
        ("\r\nGET http://wiki.demo/ HTTP/1.1\r\nAUTH\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        ("GET http://wiki.demo/\r\n\r\n", 400),
        // What is not carried.
        ("TRACE http://wiki.demo/ HTTP/1.1\r\nMax-Forwards: 0\r\nAUTH\r\n\r\n", 501),
        ("OPTIONS http://wiki.demo/ HTTP/1.1\r\nMax-Forwards: 5\r\nAUTH\r\n\r\n", 501),
    ];
    for (request, status) in rows {
        assert!(refused(request, status).is_closed, "{request}");
    }
    for scheme in ["https", "HTTPS", "ws", "wss"] {
        let seen = refused(&format!("GET {scheme}://wiki.demo/ HTTP/1.1\r\nAUTH\r\n\r\n"), 400);
        assert!(seen.text().contains("through CONNECT"));
    }
}

#[test]
fn a_head_is_limited_in_length_and_in_fields() {
    let padded = |length: usize| {
        let start = format!("GET http://wiki.demo/ HTTP/1.1\r\n{AUTH}X: ");
        start.clone() + &"x".repeat(length - start.len() - 4) + "\r\n\r\n"
    };
    assert_eq!(converse(padded(16 * 1024)).destination(), "wiki.demo:80");
    refused(&padded(16 * 1024 + 1), 431);
    let fielded = |count: usize| {
        format!("GET http://wiki.demo/ HTTP/1.1\r\n{}{AUTH}\r\n", "A: b\r\n".repeat(count - 1))
    };
    assert_eq!(converse(fielded(64)).destination(), "wiki.demo:80");
    refused(&fielded(65), 431);
}
