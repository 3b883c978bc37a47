use ring::hmac::{self, HMAC_SHA256, Key};
use ztna_model::{OrgId, Secret};

/// Marks what the provider hands out so that it knows its own again: nothing that opens a door is kept in the store.
///
/// Every mark is HMAC-SHA-256 over the organisation, the kind and the parts, each behind its length. All brokers of an
/// organisation share the key. Checking takes the same time for every wrong mark.
pub(crate) struct Seal {
    org: OrgId,
    key: Key,
}

/// What a mark is on. A mark on one kind of thing is worth nothing on another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// An authorization code.
    Code,
    /// A refresh token.
    Refresh,
    /// What a login page carries until it is sent.
    Ticket,
    /// The cookie of a browser in which somebody signed in before.
    Known,
    /// The names under which failures are counted; never handed out.
    Counter,
}

pub(crate) type Mark = [u8; 32];

impl Seal {
    pub(crate) fn new(org: OrgId, secret: &Secret<[u8; 32]>) -> Self {
        Self { org, key: Key::new(HMAC_SHA256, secret.expose()) }
    }

    pub(crate) fn mark(&self, kind: Kind, parts: &[&[u8]]) -> Mark {
        let mut mark = Mark::default();
        let tag = hmac::sign(&self.key, &self.message(kind, parts));
        mark.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        mark
    }

    pub(crate) fn is_ours(&self, mark: &Mark, kind: Kind, parts: &[&[u8]]) -> bool {
        hmac::verify(&self.key, &self.message(kind, parts), mark).is_ok()
    }

    fn message(&self, kind: Kind, parts: &[&[u8]]) -> Vec<u8> {
        let head = [self.org.as_str().as_bytes(), kind.label()];
        let length = |part: &[u8]| u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes();
        head.iter().chain(parts).flat_map(|part| [&length(part)[..], part].concat()).collect()
    }
}

impl Kind {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Code => b"openztna/openid/code/1",
            Self::Refresh => b"openztna/openid/refresh/1",
            Self::Ticket => b"openztna/openid/ticket/1",
            Self::Known => b"openztna/openid/known/1",
            Self::Counter => b"openztna/openid/counter/1",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(org: &str, secret: u8) -> Seal {
        Seal::new(org.parse().unwrap(), &Secret::new([secret; 32]))
    }

    #[test]
    fn c03_a_mark_is_good_for_its_org_key_kind_and_parts() {
        let ours = seal("https://acme.example", 1);
        let mark = ours.mark(Kind::Code, &[b"ab", b"c"]);
        assert!(ours.is_ours(&mark, Kind::Code, &[b"ab", b"c"]));
        assert!(!seal("https://other.example", 1).is_ours(&mark, Kind::Code, &[b"ab", b"c"]));
        assert!(!seal("https://acme.example", 2).is_ours(&mark, Kind::Code, &[b"ab", b"c"]));
        assert!(!ours.is_ours(&mark, Kind::Refresh, &[b"ab", b"c"]));
        assert!(!ours.is_ours(&mark, Kind::Code, &[b"a", b"bc"]));
        assert!(!ours.is_ours(&mark, Kind::Code, &[b"ab", b"c", b""]));
        for bit in 0..256 {
            let mut forged = mark;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!ours.is_ours(&forged, Kind::Code, &[b"ab", b"c"]), "bit {bit}");
        }
    }
}
