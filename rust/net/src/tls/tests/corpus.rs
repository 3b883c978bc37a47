use std::path::Path;

use super::*;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/corpus/net");

/// Certificates are named by what must come of them: `gateway-…`, `not-one-uri-…`, `not-a-gateway-…`, `unreadable-…`.
#[test]
fn certificates_are_read_as_their_names_say() {
    let files: Vec<_> = std::fs::read_dir(Path::new(CORPUS)).unwrap().map(|entry| entry.unwrap()).collect();
    assert!(!files.is_empty());
    for file in files {
        let name = file.file_name().into_string().unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        let kind = match GatewayPeer::from_certificate(&bytes) {
            Ok(_) => "gateway-",
            Err(PeerError::NotOneUri) => "not-one-uri-",
            Err(PeerError::NotAGateway) => "not-a-gateway-",
            Err(PeerError::Unreadable) => "unreadable-",
            Err(other) => panic!("{name}: {other}"),
        };
        assert!(name.starts_with(kind), "{name} came out as {kind}");
        let _ = root_hash_of(&bytes);
    }
}
