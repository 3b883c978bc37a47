use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use httparse::{EMPTY_HEADER, Header, Status};
use ztna_model::Secret;

use crate::password::Password;
use crate::refusal::Misuse;
use crate::upstream::Upstream;

/// The head of one HTTP/1 request (RFC 9112), read strictly.
pub(crate) struct Head<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    /// 0 or 1: the minor version.
    pub(crate) minor: u8,
    pub(crate) fields: Vec<Field<'a>>,
}

/// A field's name and value.
pub(crate) type Field<'a> = (&'a str, &'a [u8]);

/// Whether the head that `bytes` begin is whole; `bytes` have grown by one since the last look. What can't be an
/// HTTP/1 head is refused at its first wrong byte: nobody waits for the end of a TLS or SOCKS4 greeting.
pub(crate) fn is_whole(bytes: &[u8]) -> Result<bool, Misuse> {
    match bytes {
        [first] if !is_token(*first) => Err(Misuse::Malformed),
        [.., b'\r', b'\n', b'\r', b'\n'] => Ok(true),
        [.., b'\r', last] if *last != b'\n' => Err(Misuse::Malformed),
        [.., before, b'\n'] if *before != b'\r' => Err(Misuse::Malformed),
        _ if bytes.len() >= MAX_LENGTH => Err(Misuse::HeadTooLarge),
        _ => Ok(false),
    }
}

impl<'a> Head<'a> {
    /// Reads a whole head.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Misuse> {
        let mut fields = [EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(bytes) {
            Ok(Status::Complete(length)) if length == bytes.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(Misuse::HeadTooLarge),
            Ok(_) | Err(_) => return Err(Misuse::Malformed),
        }
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
        else {
            return Err(Misuse::Malformed);
        };
        let fields = request.headers.iter().map(|Header { name, value }| (*name, *value)).collect();
        Self { method, target, minor, fields }.checked()
    }

    /// Whether it carries the password in Basic credentials (RFC 7617), once.
    pub(crate) fn knows(&self, password: &Password) -> bool {
        let decoded = self.only("proxy-authorization").and_then(basic).map(Secret::new);
        let Some(decoded) = decoded else { return false };
        let mut parts = decoded.expose().splitn(2, |byte| *byte == b':');
        let (_user, given) = (parts.next(), parts.next());
        given.is_some_and(|given| password.is(given))
    }

    /// How much follows the head (RFC 9112, 6.3). Two lengths, or a length and chunks, are refused even where
    /// they agree: the next server may choose the other one.
    pub(crate) fn body(&self) -> Result<Upstream, Misuse> {
        let length = self.values("content-length").next();
        let coding = self.values("transfer-encoding").next();
        match (length, coding) {
            (None, None) => Some(Upstream::of_length(0)),
            (Some(_), None) => self.only("content-length").and_then(number).map(Upstream::of_length),
            (None, Some(_)) if self.minor == 0 => None,
            (None, Some(_)) => self.only("transfer-encoding").and_then(chunked),
            (Some(_), Some(_)) => None,
        }
        .ok_or(Misuse::BodyUnclear)
    }

    /// Whether the app means to go on after an answer.
    pub(crate) fn is_persistent(&self) -> bool {
        self.minor == 1 && !self.options().any(|option| option.eq_ignore_ascii_case(b"close"))
    }

    /// The options of `Connection`, and of `Proxy-Connection`, which clients send though no RFC has it.
    pub(crate) fn options(&self) -> impl Iterator<Item = &'a [u8]> {
        self.values("connection")
            .chain(self.values("proxy-connection"))
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
    }

    /// All values of the field `name`.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |field| field.0.eq_ignore_ascii_case(name)).map(|field| field.1)
    }

    /// The value of the field `name`, if it is there exactly once.
    fn only(&self, name: &str) -> Option<&'a [u8]> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// A missing `Host` is forgiven, as the target says it all and `Host` is written anew; two are not.
    fn checked(self) -> Result<Self, Misuse> {
        let is_sound = self.target.is_ascii() && self.values("host").count() <= 1;
        if is_sound { Ok(self) } else { Err(Misuse::Malformed) }
    }
}

fn basic(credentials: &[u8]) -> Option<Vec<u8>> {
    let (scheme, token) = credentials.split_at_checked(BASIC.len())?;
    let is_basic = scheme.eq_ignore_ascii_case(BASIC);
    is_basic.then(|| STANDARD.decode(token.trim_ascii()).ok())?
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn chunked(coding: &[u8]) -> Option<Upstream> {
    coding.eq_ignore_ascii_case(b"chunked").then_some(Upstream::CHUNKED)
}

/// Whether a method may begin with `byte` (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const MAX_LENGTH: usize = 16 * 1024;
const MAX_FIELDS: usize = 64;
const BASIC: &[u8] = b"Basic ";
