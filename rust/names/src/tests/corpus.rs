//! Recorded queries, named by what becomes of them.

use std::fs;
use std::path::Path;

use super::properties::keeps_its_promises;
use crate::{Read, Transport, hear, read};

fn recorded() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/names");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.map(|path| (name(&path), fs::read(&path).unwrap())).collect()
}

#[test]
fn recorded_messages_are_what_their_names_say() {
    let mut seen = 0;
    for (name, bytes) in recorded() {
        let is = match read(&bytes, Transport::Udp) {
            Read::Question(_) => "query",
            Read::Answer(answer) if answer[3] == 1 => "malformed",
            Read::Answer(_) => "unknown-opcode",
            Read::Silence if hear(&bytes).is_some() => "site",
            Read::Silence => "silence",
        };
        assert!(name.starts_with(is), "{name} is {is}");
        seen += 1;
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn f03_a_recorded_message_with_any_byte_altered_or_its_end_cut_off_does_no_harm() {
    for (name, bytes) in recorded() {
        for at in 0..bytes.len() {
            for value in [0, 1, 0x0c, 0x3f, 0x40, 0x80, 0xc0, 0xff, bytes[at] ^ 1, bytes[at] ^ 0x20] {
                let mut altered = bytes.clone();
                altered[at] = value;
                let kept = keeps_its_promises(&altered, Transport::Udp);
                assert!(kept.is_ok(), "{name}, byte {at} is {value}: {kept:?}");
            }
            let kept = keeps_its_promises(&bytes[..at], Transport::Tcp);
            assert!(kept.is_ok(), "{name}, {at} bytes: {kept:?}");
        }
    }
}
