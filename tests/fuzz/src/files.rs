//! What lies on disk, written by an administrator or by the product itself.

use std::fs;
use std::path::PathBuf;

use ztna_api::gateway::ToGateway;
use ztna_api::wire;
use ztna_gateway::LeaseFile;
use ztna_model::Secret;

/// What the connector keeps on disk.
pub(crate) fn session_on_disk(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(saved) = ztna_session::Saved::read(&Secret::new(text.to_owned())) {
        let again = ztna_session::Saved::read(&saved.write()).expect("what is written is read");
        assert_eq!(again, saved, "a session reads back");
    }
}

/// A gateway's settings: what is accepted keeps the limits, what is refused is named.
pub(crate) fn gateway_settings(bytes: &[u8]) {
    let (path, environment) = settings(bytes, "OPENZTNA_GATEWAY_LIMITS__FLOWS");
    match ztna_gateway::Config::load(&path, environment) {
        Ok(config) => {
            assert!(config.limits.flows > 0, "no flows");
            assert!(config.limits.flows_per_device <= config.limits.flows, "more for one than for all");
            assert!(config.udp.advertise.iter().all(|at| at.port() != 0), "an address without a port");
        }
        Err(error) => assert!(!error.to_string().is_empty(), "a refusal says why"),
    }
}

/// A connector's settings.
pub(crate) fn connector_settings(bytes: &[u8]) {
    let (path, environment) = settings(bytes, "OPENZTNA_CONNECTOR_DEVICE_NAME");
    if let Err(error) = ztna_connector::config::Config::load(&path, environment) {
        assert!(!error.to_string().is_empty(), "a refusal says why");
    }
}

/// A broker's settings: what is accepted names an organisation, and can be served.
pub(crate) fn broker_settings(bytes: &[u8]) {
    let (path, environment) = settings(bytes, "OPENZTNA_BROKER_ORGANISATION__LEASE_TTL_S");
    match ztna_broker::Config::load(&path, environment) {
        Ok(config) => {
            assert!(config.origin.is_some() && !config.listen.is_empty(), "nobody could come");
            assert!((5..=300).contains(&config.organisation.lease_ttl_s), "a lease that lives too long");
            assert_eq!(
                config.tls.certificate.is_some(),
                config.tls.key.is_some(),
                "a certificate without a key"
            );
        }
        Err(error) => assert!(!error.to_string().is_empty(), "a refusal says why"),
    }
}

/// A file of leases: what is read writes back to what it was.
pub(crate) fn lease_file(bytes: &[u8]) {
    if let Ok(file) = wire::read::<LeaseFile>(bytes, ToGateway::LONGEST) {
        let text = wire::write(&file);
        assert_eq!(wire::read::<LeaseFile>(text.as_bytes(), ToGateway::LONGEST), Ok(file), "{text}");
    }
}

/// A device's question of a name: what is read can be refused, in its own words and in no more than it takes.
pub(crate) fn questions(bytes: &[u8]) {
    let Some(question) = ztna_gateway::Question::read(bytes) else { return };
    let refusal = question.refusal();
    assert!((12..=question.longest()).contains(&refusal.len()), "a refusal fits");
    assert_eq!(refusal[..2], bytes[..2], "it is the answer to that very question");
    assert_eq!((refusal[2] & 0x80, refusal[3] & 0x0f), (0x80, 5), "it says no, and nothing else");
    assert_eq!(refusal[4..10], [0, 1, 0, 0, 0, 0], "it repeats the question and names nobody");
    assert!(ztna_gateway::Question::read(&refusal).is_none(), "an answer is no question");
}

/// A file with what stands before a zero byte, and a variable with what stands behind it.
fn settings(bytes: &[u8], variable: &str) -> (PathBuf, Vec<(String, String)>) {
    let (file, value) = match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => (&bytes[..end], Some(String::from_utf8_lossy(&bytes[end + 1..]).into_owned())),
        None => (bytes, None),
    };
    let thread = std::thread::current().id();
    let path = std::env::temp_dir().join(format!("ztna-fuzz-{}-{thread:?}.toml", std::process::id()));
    fs::write(&path, file).expect("the temporary directory takes files");
    (path, value.map(|value| (variable.to_owned(), value)).into_iter().collect())
}
