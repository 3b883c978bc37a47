use std::time::Duration;

use ztna_model::{WallTime, base64url, minutes};

use super::browser::BrowserId;
use super::seal::{Kind, Mark, Seal};

/// What a login page carries until it is sent: the request it answers. Good for one browser and ten minutes, so no
/// other site can send the form in a person's name (login CSRF).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ticket {
    pub(crate) query: String,
    pub(crate) standing: Standing,
}

/// Whether a ticket lets its form count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// It does.
    Good,
    /// The page was open for too long.
    Stale,
    /// Another browser's, or one without cookies: the query is whatever somebody wrote.
    Foreign,
}

impl Ticket {
    pub(crate) fn issue(query: &str, browser: BrowserId, seal: &Seal, now: WallTime) -> String {
        let at = now.as_millis().to_be_bytes();
        let mark = seal.mark(Kind::Ticket, &[browser.as_bytes(), &at, query.as_bytes()]);
        base64url::encode([&mark[..], &at, query.as_bytes()].concat())
    }

    /// Reads a ticket, if it has the form of one.
    pub(crate) fn open(text: &str, browser: Option<BrowserId>, seal: &Seal, now: WallTime) -> Option<Self> {
        let bytes = base64url::decode(text)?;
        let (mark, rest) = bytes.split_first_chunk::<32>()?;
        let (at, query) = rest.split_first_chunk::<8>()?;
        let ours = browser.is_some_and(|browser| is_ours(seal, mark, browser, at, query));
        let at = WallTime::from_millis(u64::from_be_bytes(*at));
        let standing = match ours {
            true if at <= now && now.since(at) <= LIFE => Standing::Good,
            true => Standing::Stale,
            false => Standing::Foreign,
        };
        Some(Self { query: String::from_utf8(query.to_vec()).ok()?, standing })
    }
}

fn is_ours(seal: &Seal, mark: &Mark, browser: BrowserId, at: &[u8; 8], query: &[u8]) -> bool {
    seal.is_ours(mark, Kind::Ticket, &[browser.as_bytes(), at, query])
}

const LIFE: Duration = minutes(10);

#[cfg(test)]
mod tests {
    use ztna_model::{Random, Secret, secs};

    use super::*;

    struct Same(u8);

    impl Random for Same {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn h04_a_form_counts_in_the_browser_that_was_shown_it() {
        let seal = Seal::new("https://acme.example".parse().unwrap(), &Secret::new([1; 32]));
        let other = Seal::new("https://other.example".parse().unwrap(), &Secret::new([1; 32]));
        let (mine, yours) = (BrowserId::random(&mut Same(1)), BrowserId::random(&mut Same(2)));
        let shown = WallTime::from_secs(1_800_000_000);
        let ticket = Ticket::issue("client_id=openztna", mine, &seal, shown);
        let rows = [
            (Some(mine), &seal, shown, Standing::Good),
            (Some(mine), &seal, shown + minutes(10), Standing::Good),
            (Some(mine), &seal, shown + minutes(10) + secs(1), Standing::Stale),
            (Some(mine), &seal, shown - secs(1), Standing::Stale),
            (Some(yours), &seal, shown, Standing::Foreign),
            (None, &seal, shown, Standing::Foreign),
            (Some(mine), &other, shown, Standing::Foreign),
        ];
        for (browser, seal, now, standing) in rows {
            let opened = Ticket::open(&ticket, browser, seal, now).unwrap();
            assert_eq!(opened, Ticket { query: "client_id=openztna".into(), standing });
        }
        let forged = Ticket::issue("client_id=evil", yours, &seal, shown);
        assert_eq!(Ticket::open(&forged, Some(mine), &seal, shown).unwrap().standing, Standing::Foreign);
        for text in ["", "AAAA", "not base64", ticket.get(..40).unwrap()] {
            assert_eq!(Ticket::open(text, Some(mine), &seal, shown), None, "{text}");
        }
    }
}
