use std::collections::BTreeSet;
use std::path::PathBuf;
use std::{env, fs};

use super::{Seen, converse_in_pieces};
use crate::Verdict;

/// A file, the status line or bytes of the first replies, what is asked, and how what reaches the application
/// begins and ends.
type Row = (&'static str, &'static [u8], &'static str, &'static str, &'static str);

const TUNNEL: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
const MALFORMED: &[u8] = b"HTTP/1.1 400 Bad Request\r\n";
const CHALLENGE: &[u8] = b"HTTP/1.1 407 Proxy Authentication Required\r\n";
const MISDIRECTED: &[u8] = b"HTTP/1.1 421 Misdirected Request\r\n";
const NOT_FOUND: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\n";
const SOCKS: &[u8] = b"\x05\x02\x01\x00\x05\x00";

#[rustfmt::skip] // a table
const ROWS: &[Row] = &[
    // What clients really send.
    ("curl-socks-name.bin", SOCKS, "wiki.demo:80", "GET / HTTP/1.1\r\nHost: Wiki.demo\r\n", "\r\n\r\n"),
    ("curl-socks-ipv4.bin", SOCKS, "10.1.2.3:8080", "GET / HTTP/1.1\r\n", "\r\n\r\n"),
    ("curl-socks-ipv6.bin", SOCKS, "[2001:db8::1]:80", "GET / HTTP/1.1\r\n", "\r\n\r\n"),
    ("curl-socks-no-password.bin", b"\x05\xff", "", "", ""),
    ("curl-socks4a.bin", MALFORMED, "", "", ""),
    ("curl-connect.http", TUNNEL, "wiki.demo:80", "GET / HTTP/1.1\r\nHost: wiki.demo\r\n", "\r\n\r\n"),
    ("curl-connect-then-tls.bin", TUNNEL, "wiki.demo:443", "\x16\x03\x01", ""),
    ("curl-connect-ipv6.http", TUNNEL, "[2001:db8::1]:8080", "GET / HTTP/1.1\r\n", "\r\n\r\n"),
    ("curl-connect-http10.http", TUNNEL, "wiki.demo:80", "GET / HTTP/1.1\r\n", "\r\n\r\n"),
    ("curl-connect-anyauth.http", CHALLENGE, "", "", ""),
    ("curl-connect-anyauth-again.http", TUNNEL, "wiki.demo:80", "GET / HTTP/1.1\r\n", "\r\n\r\n"),
    ("curl-get.http", b"", "wiki.demo:80", "GET /a/b?c=d HTTP/1.1\r\nHost: wiki.demo\r\nUser-Agent: curl", "Connection: close\r\n\r\n"),
    ("curl-get-port.http", b"", "wiki.demo:8080", "GET / HTTP/1.1\r\nHost: wiki.demo:8080\r\n", "Connection: close\r\n\r\n"),
    ("curl-get-no-password.http", CHALLENGE, "", "", ""),
    ("curl-get-anyauth.http", CHALLENGE, "wiki.demo:80", "GET / HTTP/1.1\r\n", "Connection: close\r\n\r\n"),
    ("curl-get-h2c.http", b"", "wiki.demo:80", "GET / HTTP/1.1\r\n", "Accept: */*\r\nVia: 1.1 openztna\r\nConnection: close\r\n\r\n"),
    ("curl-head.http", b"", "wiki.demo:80", "HEAD / HTTP/1.1\r\n", "Connection: close\r\n\r\n"),
    ("curl-post.http", b"", "wiki.demo:80", "POST /form HTTP/1.1\r\n", "Connection: close\r\n\r\nname=value"),
    ("curl-post-chunked.http", b"", "wiki.demo:80", "POST /form HTTP/1.1\r\n", "\r\n\r\na\r\nname=value\r\n0\r\n\r\n"),
    ("curl-post-anyauth.http", CHALLENGE, "", "", ""),
    ("curl-put-expect.http", b"", "wiki.demo:80", "PUT /file HTTP/1.1\r\n", "xxxx"),
    ("curl-to-the-port-itself.http", MISDIRECTED, "", "", ""),
    ("curl-tls-to-the-proxy.bin", MALFORMED, "", "", ""),
    ("wget-get.http", b"", "wiki.demo:80", "GET / HTTP/1.1\r\nHost: wiki.demo\r\n", "Connection: close\r\n\r\n"),
    ("wget-connect-then-tls.bin", TUNNEL, "wiki.demo:443", "\x16\x03\x01", ""),
    ("python-urllib-get.http", b"", "wiki.demo:80", "GET /x HTTP/1.1\r\n", "Connection: close\r\n\r\n"),
    ("python-requests-connect-then-tls.bin", TUNNEL, "wiki.demo:443", "\x16\x03\x01", ""),
    ("browser-get-cross-site.http", b"", "wiki.demo:80", "GET / HTTP/1.1\r\n", "Connection: close\r\n\r\n"),
    // What attackers and broken clients send.
    ("page-rebinding.http", MISDIRECTED, "", "", ""),
    ("page-post-with-socks-bytes.http", MISDIRECTED, "", "", ""),
    ("page-preflight.http", MISDIRECTED, "", "", ""),
    ("page-websocket.http", MISDIRECTED, "", "", ""),
    ("smuggle-length-and-chunks.http", MALFORMED, "", "", ""),
    ("smuggle-two-lengths.http", MALFORMED, "", "", ""),
    ("smuggle-obscured-chunks.http", MALFORMED, "", "", ""),
    ("smuggle-connection-lists-length.http", b"", "wiki.demo:80", "POST / HTTP/1.1\r\nHost: wiki.demo\r\nContent-Length: 5\r\n", "\r\n\r\nhello"),
    ("pipelined-second-request.http", b"", "wiki.demo:80", "GET / HTTP/1.1\r\nHost: wiki.demo\r\nVia", "Connection: close\r\n\r\n"),
    ("chunked-then-second-request.http", b"", "wiki.demo:80", "POST / HTTP/1.1\r\n", "Connection: close\r\n\r\n5;a=b\r\nhello\r\n0\r\nDigest: x\r\n\r\n"),
    ("chunk-size-with-line-feed-alone.http", b"", "wiki.demo:80", "POST / HTTP/1.1\r\n", "Connection: close\r\n\r\n5"),
    ("head-with-line-feeds-alone.http", MALFORMED, "", "", ""),
    ("https-url.http", MALFORMED, "", "", ""),
    ("connect-octal-address.http", NOT_FOUND, "", "", ""),
    ("connect-wrong-password.http", CHALLENGE, "", "", ""),
    ("socks-decimal-address.bin", b"\x05\x02\x01\x00\x05\x04", "", "", ""),
    ("socks-bind.bin", b"\x05\x02\x01\x00\x05\x07", "", "", ""),
    ("socks-udp-associate.bin", b"\x05\x02\x01\x00\x05\x07", "", "", ""),
    ("socks-unknown-address-type.bin", b"\x05\x02\x01\x00\x05\x08", "", "", ""),
    ("socks-port-zero.bin", b"\x05\x02\x01\x00\x05\x01", "", "", ""),
    ("socks-truncated-request.bin", b"\x05\x02\x01\x00", "", "", ""),
    ("socks-wrong-password.bin", b"\x05\x02\x01\x01", "", "", ""),
    ("socks-no-authentication-only.bin", b"\x05\xff", "", "", ""),
];

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/proxy")
}

fn check((file, reply, asked, begins, ends): &Row) {
    let bytes = fs::read(corpus().join(file)).unwrap();
    let seen = converse_in_pieces(&bytes, &[], &Verdict::Connected);
    assert!(seen.replies.starts_with(reply), "{file}: {:?}", seen.text());
    assert_eq!(seen.destination(), *asked, "{file}");
    assert!(seen.passed.starts_with(begins.as_bytes()), "{file}: {:?}", seen.head());
    assert!(seen.passed.ends_with(ends.as_bytes()), "{file}: {:?}", seen.head());
    assert_eq!(seen.passed.is_empty(), begins.is_empty(), "{file}: {:?}", seen.head());
    if *reply == TUNNEL || *reply == SOCKS {
        assert!(bytes.ends_with(&seen.passed), "{file}");
    }
    for cut in 0..bytes.len() {
        check_split(file, &bytes, &[cut], &seen);
    }
    check_split(file, &bytes, &(0..bytes.len()).collect::<Vec<_>>(), &seen);
}

fn check_split(file: &str, bytes: &[u8], cuts: &[usize], expected: &Seen) {
    assert_eq!(converse_in_pieces(bytes, cuts, &Verdict::Connected), *expected, "{file} cut at {cuts:?}");
}

#[test]
fn every_file_of_the_corpus_does_what_its_row_says_however_it_is_split() {
    ROWS.iter().for_each(check);
    let rows: BTreeSet<_> = ROWS.iter().map(|row| row.0.to_owned()).collect();
    let files = fs::read_dir(corpus()).unwrap();
    let files: BTreeSet<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(rows, files);
}
