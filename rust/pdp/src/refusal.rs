use ztna_api::token::{TokenError, TokenErrorCode};
use ztna_model::DenyReason;

/// A refusal by the token endpoint, in a sentence.
pub(crate) fn refusal(error: TokenErrorCode, sentence: &str) -> TokenError {
    TokenError { error, error_description: Some(sentence.to_owned()), reason: None }
}

/// A refusal that a person can act on.
pub(crate) fn denial(error: TokenErrorCode, reason: DenyReason) -> TokenError {
    TokenError { error, error_description: Some(reason.sentence().to_owned()), reason: Some(reason) }
}
