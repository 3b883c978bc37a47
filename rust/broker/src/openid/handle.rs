use ztna_model::{Secret, base64url};

use super::grant::SignInId;
use super::seal::{Kind, Mark, Seal};

/// A code or a refresh token in the clear: which sign-in, which turn. The mark on it says that it is ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Handle {
    /// An authorization code.
    Code(SignInId),
    /// The refresh token of a turn.
    Refresh(SignInId, u32),
}

impl Handle {
    /// As it goes to the client. The same handle is always the same text.
    pub(crate) fn seal(self, seal: &Seal) -> Secret<String> {
        let (id, turn) = self.parts();
        let mark = seal.mark(self.kind(), &[&id.0, &turn.to_be_bytes()]);
        Secret::new(base64url::encode([&id.0[..], &turn.to_be_bytes(), &mark].concat()))
    }

    pub(crate) fn open_code(text: &str, seal: &Seal) -> Option<SignInId> {
        match Self::open(text, seal, |id, _| Self::Code(id))? {
            Self::Code(id) => Some(id),
            Self::Refresh(..) => None,
        }
    }

    pub(crate) fn open_refresh(text: &str, seal: &Seal) -> Option<(SignInId, u32)> {
        match Self::open(text, seal, Self::Refresh)? {
            Self::Refresh(id, turn) => Some((id, turn)),
            Self::Code(_) => None,
        }
    }

    fn open(text: &str, seal: &Seal, handle: fn(SignInId, u32) -> Self) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let bytes = base64url::decode(text)?;
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (turn, mark) = rest.split_first_chunk::<4>()?;
        let mark: Mark = mark.try_into().ok()?;
        let handle = handle(SignInId(*id), u32::from_be_bytes(*turn));
        seal.is_ours(&mark, handle.kind(), &[id, turn]).then_some(handle)
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Code(_) => Kind::Code,
            Self::Refresh(..) => Kind::Refresh,
        }
    }

    const fn parts(self) -> (SignInId, u32) {
        match self {
            Self::Code(id) => (id, 0),
            Self::Refresh(id, turn) => (id, turn),
        }
    }
}

const LONGEST: usize = 128;
