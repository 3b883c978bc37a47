//! Recorded queries, named by what becomes of them.

use std::fs;
use std::path::Path;

use crate::{Read, Transport, hear, read};

#[test]
fn recorded_messages_are_what_their_names_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/names");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let (name, bytes) =
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap());
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
