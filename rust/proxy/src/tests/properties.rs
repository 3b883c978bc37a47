use proptest::prelude::*;

use super::{AUTH, SECRET, converse, converse_in_pieces, socks};
use crate::Verdict;

/// Pieces of what clients send, so that random sequences of them get far.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"\x05\x01\x02",
        b"\x05\x01\x00",
        b"\x01\x03ana\x02pw",
        b"\x05\x01\x00\x03\x09wiki.demo\x00\x50",
        b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50",
        b"CONNECT wiki.demo:443 HTTP/1.1\r\n",
        b"GET http://wiki.demo/ HTTP/1.1\r\n",
        b"POST http://wiki.demo HTTP/1.0\r\n",
        b"GET / HTTP/1.1\r\n",
        b"Host: wiki.demo\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Proxy-Authorization: Basic YW5hOnB3\r\n",
        b"Proxy-Authorization: Basic ",
        b"\r\n",
        b"\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
    ];
    prop_oneof![
        8 => prop::sample::select(pieces).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ]
}

fn stranger() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(fragment(), 0..12).prop_map(|fragments| fragments.concat())
}

/// The same with the secret in the right places, mixed into the rest.
fn friend() -> impl Strategy<Value = Vec<u8>> {
    let opening = prop_oneof![
        Just(socks("wiki.demo", 80)),
        Just(socks("wiki.demo", 80)[..41].to_vec()),
        Just(format!("CONNECT wiki.demo:443 HTTP/1.1\r\n{AUTH}").into_bytes()),
        Just(format!("POST http://Wiki.demo/a HTTP/1.1\r\n{AUTH}").into_bytes()),
        Just(
            format!("GET http://wiki.demo:8080 HTTP/1.1\r\n\r\nGET http://a/ HTTP/1.1\r\n{AUTH}")
                .into_bytes()
        ),
    ];
    (opening, stranger()).prop_map(|(opening, rest)| [opening, rest].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn without_the_secret_nothing_is_asked_and_nothing_passes(bytes in stranger()) {
        let seen = converse(&bytes);
        prop_assert_eq!(seen.asked, None);
        prop_assert!(seen.passed.is_empty() && seen.upstream.is_none());
    }

    #[test]
    fn arbitrary_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(converse(&bytes).asked, None);
    }

    #[test]
    fn how_bytes_arrive_never_matters(
        bytes in prop_oneof![stranger(), friend()],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let each: Vec<_> = (0..bytes.len()).collect();
        let whole = converse(&bytes);
        prop_assert_eq!(&converse_in_pieces(&bytes, &cuts, &Verdict::Connected), &whole);
        prop_assert_eq!(&converse_in_pieces(&bytes, &each, &Verdict::Connected), &whole);
    }

    #[test]
    fn a_refused_destination_gets_no_byte(bytes in friend()) {
        let seen = converse_in_pieces(&bytes, &[], &Verdict::NOT_FOUND);
        prop_assert!(seen.passed.is_empty() && seen.upstream.is_none());
        prop_assert!(seen.asked.is_none() || seen.is_closed);
    }

    #[test]
    fn a_forwarded_head_has_one_host_one_frame_and_nothing_of_the_proxys(
        fields in prop::collection::vec(field(), 0..12),
        path in "(/[a-z?&=%]{0,8})?",
    ) {
        let request = format!("POST http://Wiki.demo{path} HTTP/1.1\r\n{AUTH}{}\r\n", fields.concat());
        let seen = converse(request);
        if seen.asked.is_some() {
            check_forwarded(&seen.passed)?;
        } else {
            prop_assert!(seen.is_closed && seen.passed.is_empty());
        }
    }
}

fn field() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec![
        "Host",
        "Connection",
        "Proxy-Connection",
        "Keep-Alive",
        "Upgrade",
        "TE",
        "Content-Length",
        "Transfer-Encoding",
        "Cookie",
        "X-Custom",
        "Via",
        "proxy-anything",
        "Expect",
    ]);
    let values = prop::sample::select(vec![
        "",
        "5",
        "close",
        "keep-alive",
        "host",
        "content-length, cookie",
        "chunked",
        "a, b",
        "\u{e9}",
        "\t x",
    ]);
    (names, values).prop_map(|(name, value)| format!("{name}: {value}\r\n"))
}

fn check_forwarded(bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut fields = [httparse::EMPTY_HEADER; 80];
    let mut request = httparse::Request::new(&mut fields);
    let status = request.parse(bytes);
    prop_assert_eq!(status, Ok(httparse::Status::Complete(bytes.len())));
    prop_assert!(request.path.unwrap().starts_with('/'));
    let values = |name: &str| -> Vec<&[u8]> {
        request
            .headers
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
            .collect()
    };
    prop_assert_eq!(values("host"), vec![&b"wiki.demo"[..]]);
    prop_assert_eq!(values("connection"), vec![&b"close"[..]]);
    prop_assert!(values("content-length").len() + values("transfer-encoding").len() <= 1);
    for field in request.headers.iter() {
        let name = field.name.to_ascii_lowercase();
        prop_assert!(
            !name.starts_with("proxy-") && name != "upgrade" && name != "te" && name != "keep-alive"
        );
        prop_assert!(!String::from_utf8_lossy(field.value).contains(SECRET));
    }
    Ok(())
}
