//! Refusals over HTTP (RFC 9457, `application/problem+json`), for everything but the token endpoint.

use serde::{Deserialize, Serialize};
use ztna_model::{DenyReason, Fix};

/// What a refusal says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// The kind of problem: `about:blank`, or `urn:openztna:` and the reason's code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is wrong, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The reason, where a person can act on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DenyReason>,
    /// What would help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<Fix>,
}

/// The media type of problems.
pub const MEDIA_TYPE: &str = "application/problem+json";
