use ztna_api::token::{Admission, TokenResponse};
use ztna_model::{DeviceId, Secret, SessionId, Time, secs};

/// The broker's tokens for a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tokens {
    /// Opens the stream and signs out.
    pub access: Secret<String>,
    /// When `access` is over, by this device's boot clock.
    pub access_until: Time,
    /// Makes the next pair, once.
    pub refresh: Secret<String>,
    /// The session.
    pub sid: SessionId,
    /// The device.
    pub device: DeviceId,
    /// Whether the device is admitted.
    pub admission: Admission,
}

impl Tokens {
    /// The tokens in an answer that arrived at `now`.
    pub(crate) fn from_response(response: TokenResponse, now: Time) -> Self {
        Self {
            access: Secret::new(response.access_token),
            access_until: now + secs(response.expires_in),
            refresh: Secret::new(response.refresh_token),
            sid: response.sid,
            device: response.device,
            admission: response.state,
        }
    }
}
