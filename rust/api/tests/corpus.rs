//! Recorded messages, sound and hostile, read from `tests/corpus/api` at the root of the repository.
//!
//! A sound one is named by its type, and by what is particular to it behind a dot; it reads back to the same text. A
//! hostile one is named by the error that it must cause.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use ztna_api::device::{FromDevice, ToDevice};
use ztna_api::discovery::{self, Discovery};
use ztna_api::dpop::{self, Expected, ProofError};
use ztna_api::gateway::{EnrolRequest, Enrolled, FromGateway, RenewRequest, Statement, ToGateway};
use ztna_api::jws::JwsError;
use ztna_api::keyset::{KeySet, KeySetError};
use ztna_api::problem::Problem;
use ztna_api::statement::{self, StatementError};
use ztna_api::token::{self, Nonce, TokenError, TokenRequest, TokenResponse};
use ztna_api::{WireError, wire};
use ztna_model::{OrgId, SessionId, WallTime};

/// The files in `below`, by name.
fn files(below: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder().join(below)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    assert!(!files.is_empty(), "{below} is empty");
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/api")
}

fn recorded(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

/// What a file's name says before its first dot.
fn kind(name: &str) -> &str {
    name.split('.').next().unwrap()
}

macro_rules! check_direction {
    ($direction:ty, $name:literal) => {
        let mut seen = BTreeSet::new();
        for (name, bytes) in files(concat!("frames/", $name)) {
            let frame = <$direction>::read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(frame.kind(), kind(&name));
            assert_eq!(frame.write().as_bytes(), bytes, "{name} reads back to the same text");
            seen.insert(frame.kind());
        }
        assert_eq!(seen, <$direction>::TYPES.iter().copied().collect(), "every type has an example");
        for (name, bytes) in files(concat!("frames/hostile/", $name)) {
            check_error(&name, <$direction>::read(&bytes).map(|frame| frame.kind()));
        }
    };
}

#[test]
fn p7_f03_every_frame_has_examples_and_hostile_ones_cause_the_error_they_are_named_by() {
    check_direction!(FromDevice, "from-device");
    check_direction!(ToDevice, "to-device");
    check_direction!(FromGateway, "from-gateway");
    check_direction!(ToGateway, "to-gateway");
}

/// What a receiver does not know it ignores, unless it must not.
macro_rules! check_additions {
    ($direction:ty, $name:literal) => {
        for (name, bytes) in files(concat!("frames/", $name)) {
            let Value::Object(fields) = serde_json::from_slice(&bytes).unwrap() else { panic!("{name}") };
            let frame = <$direction>::read(&bytes).unwrap();
            let with = |additions: &[(&str, Value)]| {
                let additions = additions.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
                let more: Map<String, Value> = fields.clone().into_iter().chain(additions).collect();
                <$direction>::read(Value::Object(more).to_string().as_bytes())
            };
            let known: Vec<Value> =
                fields.keys().filter(|field| *field != "type").map(|field| field.as_str().into()).collect();
            let (addition, must) = (("addition", Value::from(1)), ("must", Value::from(known)));
            assert_eq!(with(std::slice::from_ref(&addition)), Ok(frame.clone()), "{name}");
            assert_eq!(with(&[must]), Ok(frame), "{name}: every field of its own is known");
            let must = ("must", Value::from(vec!["addition"]));
            let refused = WireError::UnknownMust("addition".into());
            assert_eq!(with(&[addition, must]), Err(refused), "{name}");
        }
    };
}

#[test]
fn p7_an_unknown_field_is_ignored_unless_must_names_it() {
    check_additions!(FromDevice, "from-device");
    check_additions!(ToDevice, "to-device");
    check_additions!(FromGateway, "from-gateway");
    check_additions!(ToGateway, "to-gateway");
}

#[test]
fn p7_f03_a_frame_that_was_cut_short_is_not_understood() {
    for direction in ["from-device", "to-device", "from-gateway", "to-gateway"] {
        for (name, bytes) in files(&format!("frames/{direction}")) {
            for length in 0..bytes.len() {
                let cut = FromDevice::read(&bytes[..length]).map(|frame| frame.kind());
                assert!(matches!(cut, Err(WireError::NotUnderstood(_))), "{name}, {length} bytes: {cut:?}");
            }
        }
    }
}

#[test]
fn p7_every_http_message_reads_back_to_the_same_text() {
    let mut seen = BTreeSet::new();
    for (name, bytes) in files("http") {
        let again = http(&name, &bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        // What carries a secret is never written by its reader.
        assert!(again.is_none_or(|text| text.as_bytes() == bytes), "{name} reads back to the same text");
        seen.insert(kind(&name).to_owned());
    }
    assert_eq!(seen, HTTP.iter().map(|kind| (*kind).to_owned()).collect(), "every message has an example");
}

#[test]
fn f03_hostile_http_messages_cause_the_error_they_are_named_by() {
    for (name, bytes) in files("http/hostile") {
        let (_, error) = name.split_once('.').unwrap();
        check_error(error, http(&name, &bytes));
    }
}

const HTTP: [&str; 9] = [
    "discovery",
    "nonce",
    "token-request",
    "token-response",
    "token-error",
    "problem",
    "enrol-request",
    "enrolled",
    "renew-request",
];

/// Reads a message of the kind that its name says; gives it back as text unless it carries a secret.
fn http(name: &str, bytes: &[u8]) -> Result<Option<String>, WireError> {
    fn both<T: DeserializeOwned + Serialize>(
        bytes: &[u8],
        longest: usize,
    ) -> Result<Option<String>, WireError> {
        wire::read::<T>(bytes, longest).map(|message| Some(wire::write(&message)))
    }
    match kind(name) {
        "discovery" => both::<Discovery>(bytes, discovery::LONGEST),
        "nonce" => both::<Nonce>(bytes, token::LONGEST),
        "token-request" => wire::read::<TokenRequest>(&form(bytes), token::LONGEST).map(|_| None),
        "token-response" => both::<TokenResponse>(bytes, token::LONGEST),
        "token-error" => both::<TokenError>(bytes, token::LONGEST),
        "problem" => both::<Problem>(bytes, token::LONGEST),
        "enrol-request" => wire::read::<EnrolRequest>(bytes, token::LONGEST).map(|_| None),
        "enrolled" => both::<Enrolled>(bytes, token::LONGEST),
        "renew-request" => both::<RenewRequest>(bytes, token::LONGEST),
        other => panic!("no message is called `{other}`"),
    }
}

/// A form as the JSON object it stands for.
fn form(bytes: &[u8]) -> Vec<u8> {
    let text = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            });
        }
        String::from_utf8(bytes).unwrap()
    };
    let fields = std::str::from_utf8(bytes).unwrap().split('&').map(|field| field.split_once('=').unwrap());
    let fields: Map<String, Value> =
        fields.map(|(name, value)| (text(name), Value::from(text(value)))).collect();
    Value::Object(fields).to_string().into_bytes()
}

const NOW: WallTime = WallTime::from_secs(1_800_000_000);

/// The organisation and the session in which all was signed.
fn signed_in() -> (OrgId, SessionId) {
    ("https://acme.example".parse().unwrap(), "a60606060606060606060606060606de".parse().unwrap())
}

/// Files are named by form and outcome: `keys-wrong-root.jws`, `statement-sound-facts.jws`.
#[test]
fn c02_b04_f01_recorded_signed_forms_hold_or_fail_as_their_names_say() {
    let mut seen = BTreeSet::new();
    for (name, bytes) in files("signed") {
        let Some(name) = name.strip_suffix(".jws") else { continue };
        let text = String::from_utf8(bytes).unwrap();
        let (form, named) = name.split_once('-').unwrap();
        let outcome = signed(form, &text);
        assert!(named.starts_with(outcome), "{name} came out as {outcome}");
        seen.insert((form.to_owned(), outcome));
    }
    let expected = [
        ("dpop", &["sound", "unsound", "wrong-method", "wrong-uri", "wrong-token", "stale", "bad-id"][..]),
        ("gateway", &["sound", "bad-signature", "wrong-type"]),
        ("keys", &["sound", "unsound", "wrong-root", "wrong-org", "old"]),
        ("statement", &["sound", "unsound", "wrong-key", "wrong-org", "wrong-session", "too-many"]),
    ];
    let expected = expected.iter().flat_map(|(form, all)| all.iter().map(|one| ((*form).to_owned(), *one)));
    assert_eq!(seen, expected.collect(), "every outcome has an example");
}

fn signed(form: &str, text: &str) -> &'static str {
    let (org, sid) = signed_in();
    match form {
        "dpop" => proof(text),
        "gateway" => {
            match Statement::verify(text, &serde_json::from_str(&recorded("signed/gateway.json")).unwrap()) {
                Ok(_) => "sound",
                Err(JwsError::BadSignature) => "bad-signature",
                Err(JwsError::WrongType) => "wrong-type",
                Err(other) => panic!("{other}"),
            }
        }
        "keys" => match KeySet::verify(text, &org, &recorded("signed/root.txt").trim().parse().unwrap(), 7) {
            Ok(_) => "sound",
            Err(KeySetError::Unsound(_)) => "unsound",
            Err(KeySetError::WrongRoot) => "wrong-root",
            Err(KeySetError::WrongOrg) => "wrong-org",
            Err(KeySetError::Old) => "old",
        },
        "statement" => {
            let jkt = recorded("signed/device.txt").trim().parse().unwrap();
            match statement::verify(text, &jkt, &org, sid) {
                Ok(_) => "sound",
                Err(StatementError::Unsound(_)) => "unsound",
                Err(StatementError::WrongKey) => "wrong-key",
                Err(StatementError::WrongOrg) => "wrong-org",
                Err(StatementError::WrongSession) => "wrong-session",
                Err(StatementError::TooMany) => "too-many",
            }
        }
        other => panic!("no form is called `{other}`"),
    }
}

fn proof(text: &str) -> &'static str {
    let uri = "https://acme.example/v1/token";
    match dpop::verify(text, Expected { method: "POST", uri, access_token: None, now: NOW }) {
        Ok(_) => "sound",
        Err(ProofError::Unsound(_)) => "unsound",
        Err(ProofError::WrongMethod) => "wrong-method",
        Err(ProofError::WrongUri) => "wrong-uri",
        Err(ProofError::WrongToken) => "wrong-token",
        Err(ProofError::Stale) => "stale",
        Err(ProofError::BadId) => "bad-id",
    }
}

fn check_error<T: std::fmt::Debug>(name: &str, outcome: Result<T, WireError>) {
    let error = match outcome {
        Ok(value) => panic!("{name} was read: {value:?}"),
        Err(error) => error,
    };
    let words = error.to_string();
    assert!(words.len() <= 400, "{name}: whoever sends much must not fill a log: {} bytes", words.len());
    let expected = match error {
        WireError::TooLong(_) => "too-long",
        WireError::TooDeep => "too-deep",
        WireError::NotUnderstood(_) => "not-understood",
        WireError::UnknownType(_) => "unknown-type",
        WireError::UnknownMust(_) => "unknown-must",
    };
    assert!(name.starts_with(expected), "{name} came out as {expected}: {words}");
}
