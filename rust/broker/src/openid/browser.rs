use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use ztna_model::{Random, base64url, secs};

use super::account::UserName;
use super::seal::{Kind, Mark, Seal};

/// One browser, by a random cookie that lasts as long as it is open. It ties a login form to the browser that was
/// shown it, and signs nobody in: who plants one has won nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BrowserId([u8; 16]);

/// A browser in which a person signed in before, by a cookie that stays. Its failures are counted apart, so that who
/// guesses at an account from elsewhere does not lock its owner out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KnownBrowser([u8; 16]);

/// What a browser sent along that concerns us.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Cookies {
    pub(crate) browser: Option<BrowserId>,
    known: Option<String>,
}

impl BrowserId {
    pub(crate) fn random(random: &mut dyn Random) -> Self {
        let mut id = [0; 16];
        random.fill(&mut id);
        Self(id)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn set_cookie(&self) -> String {
        format!("{BROWSER}={}; {ATTRIBUTES}", base64url::encode(self.0))
    }
}

impl KnownBrowser {
    pub(crate) fn random(random: &mut dyn Random) -> Self {
        let mut id = [0; 16];
        random.fill(&mut id);
        Self(id)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn set_cookie(&self, seal: &Seal, name: &UserName) -> String {
        let mark = seal.mark(Kind::Known, &[&self.0, name.as_str().as_bytes()]);
        let value = base64url::encode([&self.0[..], &mark].concat());
        format!("{KNOWN}={value}; {ATTRIBUTES}; Max-Age={}", KNOWN_LIFE.as_secs())
    }

    fn open(text: &str, seal: &Seal, name: &UserName) -> Option<Self> {
        let bytes = base64url::decode(text)?;
        let (id, mark) = bytes.split_first_chunk::<16>()?;
        let mark: Mark = mark.try_into().ok()?;
        seal.is_ours(&mark, Kind::Known, &[id, name.as_str().as_bytes()]).then_some(Self(*id))
    }
}

impl Cookies {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let browser = single(headers, BROWSER).and_then(base64url::decode).and_then(|id| id.try_into().ok());
        Self { browser: browser.map(BrowserId), known: single(headers, KNOWN).map(str::to_owned) }
    }

    /// The browser, if `name` signed in there before.
    pub(crate) fn known(&self, seal: &Seal, name: &UserName) -> Option<KnownBrowser> {
        KnownBrowser::open(self.known.as_deref()?, seal, name)
    }
}

/// The cookie's value, if there is exactly one.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut values = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim_start().strip_prefix(name)?.strip_prefix('='));
    let value = values.next()?;
    (values.next().is_none() && value.len() <= LONGEST).then_some(value)
}

/// `__Host-` cookies come from this very origin over TLS, or browsers drop them (RFC 6265bis, 4.1.3.2).
const BROWSER: &str = "__Host-openztna-browser";
const KNOWN: &str = "__Host-openztna-known";
/// `Lax`, since people come to the login page from elsewhere; its form is sent from our own page.
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";
const KNOWN_LIFE: Duration = secs(180 * 24 * 60 * 60);
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use ztna_model::Secret;

    use super::*;

    fn read(lines: &[&str]) -> Cookies {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, line.parse().unwrap());
        }
        Cookies::read(&headers)
    }

    fn value(set_cookie: &str) -> &str {
        set_cookie.split(';').next().unwrap()
    }

    #[test]
    fn cookies_and_their_doubles() {
        let cookie = BrowserId([7; 16]).set_cookie();
        let pair = value(&cookie);
        let rows = [
            (vec![pair.into()], true),
            (vec!["a=b; c".into(), pair.into()], true),
            (vec![format!("a=b;{pair}; c=d")], true),
            (vec![pair.into(), pair.into()], false),
            (vec![format!("{pair}; {pair}")], false),
            (vec![format!("x{pair}")], false),
            (vec![pair.replace("browser", "Browser")], false),
            (vec!["__Host-openztna-browser=short".into()], false),
            (vec!["__Host-openztna-browser".into()], false),
            (vec![], false),
        ];
        for (lines, expected) in rows {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            assert_eq!(read(&lines).browser, expected.then_some(BrowserId([7; 16])), "{lines:?}");
        }
    }

    #[test]
    fn h01_a_browser_is_known_for_one_name_only() {
        let seal = Seal::new("https://acme.example".parse().unwrap(), &Secret::new([1; 32]));
        let (ana, bo) = ("ana".parse().unwrap(), "bo".parse().unwrap());
        let cookie = KnownBrowser([3; 16]).set_cookie(&seal, &ana);
        let cookies = read(&[value(&cookie)]);
        assert_eq!(cookies.known(&seal, &ana), Some(KnownBrowser([3; 16])));
        assert_eq!(cookies.known(&seal, &bo), None);
        assert_eq!(read(&["__Host-openztna-known=AAAA"]).known(&seal, &ana), None);
    }

    #[test]
    fn cookies_stay_with_the_origin_and_out_of_scripts() {
        let seal = Seal::new("https://acme.example".parse().unwrap(), &Secret::new([1; 32]));
        let known = KnownBrowser([3; 16]).set_cookie(&seal, &"ana".parse().unwrap());
        for cookie in [BrowserId([7; 16]).set_cookie(), known] {
            assert!(cookie.starts_with("__Host-"));
            for attribute in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
                assert!(cookie.contains(attribute), "{cookie}");
            }
            assert!(!cookie.contains("Domain"));
        }
    }
}
