//! What came from outside, file by file: each is taken or refused as its name says.

use std::fs;
use std::path::{Path, PathBuf};

use ztna_api::{admin, wire};
use ztna_broker::Config;
use ztna_broker::admin::{LocalReply, LocalRequest};
use ztna_broker::audit::read_line;

/// Looks at each file of a folder; `verdict` is how its name must begin.
fn replay(folder: &str, verdict: impl Fn(&Path, &[u8]) -> &'static str) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/broker").join(folder);
    let files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 4, "{folder} has its inputs");
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let verdict = verdict(&path, &fs::read(&path).unwrap());
        assert!(name.starts_with(verdict), "{name} is {verdict}");
    }
}

#[test]
fn settings() {
    replay("config", |path, bytes| {
        // Behind a zero byte stands the value of a variable.
        let (file, value) = match bytes.iter().position(|byte| *byte == 0) {
            Some(end) if path.to_string_lossy().contains("environment") => {
                (&bytes[..end], Some(String::from_utf8(bytes[end + 1..].to_vec()).unwrap()))
            }
            Some(_) | None => (bytes, None),
        };
        let dir = crate::dir::TempDir::new();
        let copy = dir.path("broker.toml");
        fs::write(&copy, file).unwrap();
        let variable = |value| ("OPENZTNA_BROKER_ORGANISATION__LEASE_TTL_S".to_owned(), value);
        if Config::load(&copy, value.map(variable)).is_ok() { "ok" } else { "bad" }
    });
}

#[test]
fn lines_of_administrators() {
    replay("admin", |_, bytes| {
        let request = wire::read::<LocalRequest>(bytes, admin::LONGEST).is_ok();
        let reply = wire::read::<LocalReply>(bytes, admin::LONGEST).is_ok();
        if request || reply { "ok" } else { "bad" }
    });
}

#[test]
fn lines_of_a_log() {
    replay("log", |_, bytes| {
        let readable = String::from_utf8(bytes.to_vec()).unwrap().lines().all(|line| read_line(line).is_ok());
        if readable { "" } else { "unreadable" }
    });
}
