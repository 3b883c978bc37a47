use ztna_api::discovery::Discovery;
use ztna_api::keyset::KeySet;
use ztna_auth::{Possession, SignedIn, Tokens};
use ztna_model::{DomainName, LinkId, Random, RootHash, Secret};

/// Who is signed in, and with what.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) tokens: Tokens,
    pub(crate) possession: Possession,
    pub(crate) discovery: Discovery,
    pub(crate) keys: KeySet,
    pub(crate) root: RootHash,
    pub(crate) provider_refresh: Option<Secret<String>>,
    pub(crate) links: Links,
    /// What people call the person; known from the first welcome on.
    pub(crate) person: Option<String>,
    /// Domain names under which everything is the organisation's.
    pub(crate) suffixes: Vec<DomainName>,
}

impl From<SignedIn> for Account {
    fn from(signed_in: SignedIn) -> Self {
        let SignedIn { tokens, possession, discovery, keys, root, provider_refresh } = signed_in;
        let links = Links::default();
        Self {
            tokens,
            possession,
            discovery,
            keys,
            root,
            provider_refresh,
            links,
            person: None,
            suffixes: Vec::new(),
        }
    }
}

/// The chain by which a session's streams follow each other: whoever copies this device's disk forks it, and the
/// fork shows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Links {
    /// The link of the last stream that was welcomed.
    pub(crate) prev: Option<LinkId>,
    /// The link of the stream being opened; a retry repeats it.
    pub(crate) next: Option<LinkId>,
}

impl Links {
    /// The link to open a stream with: the one not yet welcomed, or a fresh one.
    pub(crate) fn opening(&mut self, random: &mut dyn Random) -> LinkId {
        *self.next.get_or_insert_with(|| LinkId::random(random))
    }

    /// The stream was welcomed.
    pub(crate) fn welcomed(&mut self) {
        self.prev = self.next.take();
    }

    /// Whether `link` is one that this device is opening a stream with. The one that was welcomed is not: who says that
    /// link's hello again is somebody else.
    pub(crate) fn are(&self, link: LinkId) -> bool {
        self.next == Some(link)
    }
}
