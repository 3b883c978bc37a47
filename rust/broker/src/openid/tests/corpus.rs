//! What came from outside, file by file: nothing in it panics, and each is taken or refused as its name says.

use std::fs;
use std::path::Path;

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

use super::world::{NOW, browser, provider};
use crate::openid::authorization::Refused;
use crate::openid::browser::Cookies;

fn replay(kind: &str, check: impl Fn(&[u8]) -> &'static str) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/broker").join(kind);
    let mut files = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let verdict = check(&fs::read(&path).unwrap());
        assert!(name.starts_with(verdict), "{name} is {verdict}");
        files += 1;
    }
    assert!(files > 4, "{kind} has its inputs");
}

#[test]
fn authorization_requests() {
    replay("authorize", |bytes| {
        let query = String::from_utf8_lossy(bytes);
        match provider().ask(query.trim_end(), browser(), NOW) {
            Ok(_) => "granted",
            Err(Refused::Here(_)) => "shown",
            Err(Refused::Back { .. }) => "told",
        }
    });
}

#[test]
fn token_requests() {
    replay("token", |bytes| match provider().exchange(bytes.trim_ascii_end(), false) {
        Ok(_) => "taken",
        Err(error) => error.code(),
    });
}

#[test]
fn cookies() {
    replay("cookie", |bytes| {
        let mut headers = HeaderMap::new();
        for line in bytes.trim_ascii_end().split(|byte| *byte == b'\n') {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        if Cookies::read(&headers).browser.is_some() { "known" } else { "unknown" }
    });
}
