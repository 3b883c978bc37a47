use std::path::{Path, PathBuf};

use ztna_api::wire;

use super::*;
use crate::certificate::Enrolment;
use crate::config::Config;
use crate::file::LeaseFile;

/// Reads each file of a folder as `is_read` does: those whose names begin with `ok-` are understood, the others not.
fn check(folder: &str, is_read: impl Fn(&Path) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/gateway").join(folder);
    let files: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 3, "{}", folder.display());
    for path in files {
        let expected = path.file_name().unwrap().to_str().unwrap().starts_with("ok-");
        assert_eq!(is_read(&path), expected, "{}", path.display());
    }
}

#[test]
fn settings() {
    check("config", |path| Config::load(path, []).is_ok());
}

#[test]
fn lease_files() {
    check("leases", |path| {
        wire::read::<LeaseFile>(&std::fs::read(path).unwrap(), ToGateway::LONGEST).is_ok()
    });
}

#[test]
fn enrolments() {
    check("enrolment", |path| serde_json::from_slice::<Enrolment>(&std::fs::read(path).unwrap()).is_ok());
}
