use serde::Deserialize;
use thiserror::Error;
use ztna_model::base64url;
use ztna_pdp::audit::{Personal, Sealed};

use crate::store::AuditRow;

/// One line of an exported log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// A row.
    Row(AuditRow),
    /// The signed end of what was forgotten before the first row.
    Start(String),
    /// The signed end.
    Head(String),
}

/// Why a line is not understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum LineError {
    /// It is not a JSON document of this form.
    #[error("it is not a row of the log")]
    NotARow,
    /// Its hash is not one.
    #[error("its hash is not one")]
    NoHash,
}

/// A row as one line. The record stands last and as it was hashed, byte for byte.
pub fn write_line(row: &AuditRow) -> String {
    let AuditRow { sealed: Sealed { number, record, hash }, personal } = row;
    // Our own types are maps with text keys: they always have a JSON form.
    let personal = serde_json::to_string(personal).unwrap_or_default();
    let hash = base64url::encode(hash);
    format!(r#"{{"number":{number},"hash":"{hash}","personal":{personal}{RECORD}{record}}}"#)
}

/// Reads what [`write_line`] wrote.
pub fn read_line(text: &str) -> Result<Line, LineError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, untagged)]
    enum Before {
        Row { number: u64, hash: String, personal: Vec<Personal> },
        Start { start: String },
        Head { head: String },
    }
    // A quote inside a text has a backslash before it, so the first of these is the true one.
    let (before, record) = match text.split_once(RECORD) {
        Some((before, rest)) => (format!("{before}}}"), rest.trim_end().strip_suffix('}')),
        None => (text.to_owned(), None),
    };
    match (serde_json::from_str(&before).map_err(|_| LineError::NotARow)?, record) {
        (Before::Row { number, hash, personal }, Some(record)) => {
            let hash = base64url::decode(&hash).and_then(|hash| hash.try_into().ok());
            let hash = hash.ok_or(LineError::NoHash)?;
            Ok(Line::Row(AuditRow { sealed: Sealed { number, record: record.to_owned(), hash }, personal }))
        }
        (Before::Start { start }, None) => Ok(Line::Start(start)),
        (Before::Head { head }, None) => Ok(Line::Head(head)),
        (Before::Row { .. }, None) | (Before::Start { .. } | Before::Head { .. }, Some(_)) => {
            Err(LineError::NotARow)
        }
    }
}

const RECORD: &str = r#","record":"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(record: &str, text: &str) -> AuditRow {
        let personal = vec![Personal { salt: "s".into(), text: text.into() }];
        AuditRow { sealed: Sealed { number: 7, record: record.into(), hash: [1; 32] }, personal }
    }

    #[test]
    fn a_row_reads_back_byte_for_byte() {
        let rows = [
            (r#"{"at":1,"event":"x"}"#, "Ana"),
            (r#"{ "at" : 1.0 , "s":"}" }"#, r#","record":"#),
            (r#"{"record":{"record":1}}"#, r#"","record":{}"#),
        ];
        for (record, text) in rows {
            let row = row(record, text);
            let line = write_line(&row);
            assert_eq!(read_line(&line), Ok(Line::Row(row)), "{line}");
            let json: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(json["record"], serde_json::from_str::<serde_json::Value>(record).unwrap());
        }
        assert_eq!(read_line(r#"{"head":"x"}"#), Ok(Line::Head("x".into())));
        assert_eq!(read_line(r#"{"start":"x"}"#), Ok(Line::Start("x".into())));
    }

    #[test]
    fn h05_lines_that_are_no_rows() {
        let good = write_line(&row("{}", "Ana"));
        let rows = [
            (String::new(), LineError::NotARow),
            ("{}".into(), LineError::NotARow),
            (good.replace("\"number\":7,", ""), LineError::NotARow),
            (good.replace("\"number\":7", "\"number\":-7"), LineError::NotARow),
            (good.replace("\"number\":7", "\"number\":7,\"x\":1"), LineError::NotARow),
            (good.replace("AQEB", "AQE"), LineError::NoHash),
            (good.replace(",\"record\"", ",\"recerd\""), LineError::NotARow),
            (good.trim_end_matches('}').into(), LineError::NotARow),
            (r#"{"head":"x","record":{}}"#.into(), LineError::NotARow),
        ];
        for (text, expected) in rows {
            assert_eq!(read_line(&text), Err(expected), "{text}");
        }
    }
}
