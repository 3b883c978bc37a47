use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use ztna_model::{OrgString, Secret};
use ztna_net::tls::{self, Alpn, Trust};

use super::trouble::{Trouble, While as _};

/// A small user agent that fills in the login page as a person's browser would: it follows the same addresses, keeps
/// the same cookie and sends the same form.
pub(crate) struct Browser {
    http: reqwest::Client,
}

impl Browser {
    /// A browser that trusts the organisation's own certificate authority.
    pub(crate) fn of(org: &OrgString) -> Result<Self, Trouble> {
        Ok(Self { http: http(org)? })
    }

    /// Goes to the sign-in page at `address`, signs in, and brings the answer back to the connector.
    pub(crate) async fn sign_in(
        &self,
        address: &str,
        name: &str,
        password: &Secret<String>,
    ) -> Result<(), Trouble> {
        let doing = "the sign-in page";
        let page = self.http.get(address).send().await.while_doing(doing)?;
        let cookie = page.headers().get(SET_COOKIE).and_then(|cookie| cookie.to_str().ok());
        let cookie = cookie.and_then(|cookie| cookie.split(';').next()).while_doing(doing)?.to_owned();
        let html = page.text().await.while_doing(doing)?;
        let ticket = between(&html, "name=\"ticket\" value=\"", "\"").while_doing(doing)?;
        let (origin, _) = address.split_once("/openid/").while_doing(doing)?;
        let form = [("ticket", ticket), ("username", name), ("password", password.expose())];
        let login = self.http.post(format!("{origin}/openid/login")).header(COOKIE, cookie).form(&form);
        let answer = login.send().await.while_doing(doing)?;
        let back = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let back = back.ok_or_else(|| Trouble::new(doing, "the password was not accepted"))?;
        let way_back = "the way back from the sign-in page";
        let sent_on = self.http.get(back).send().await.while_doing(way_back)?;
        let last = sent_on.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let last = last.and_then(|last| sent_on.url().join(last).ok()).while_doing(way_back)?;
        let shown = self.http.get(last).send().await.while_doing(way_back)?;
        if shown.status().is_success() { Ok(()) } else { Err(Trouble::new(way_back, shown.status())) }
    }
}

/// An HTTP client that trusts the organisation's root and nobody else.
pub(crate) fn http(org: &OrgString) -> Result<reqwest::Client, Trouble> {
    let doing = "setting up HTTPS";
    let trust = org.root.map_or(Trust::Platform, Trust::Pinned);
    let tls = tls::client_config(&trust, None, Alpn::Http).while_doing(doing)?;
    reqwest::Client::builder()
        .tls_backend_preconfigured((*tls).clone())
        .redirect(Policy::none())
        .no_proxy()
        .build()
        .while_doing(doing)
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}
