use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use ztna_model::OrgString;
use ztna_net::tls::{self, Alpn, Trust};

/// Signs in as a person's browser would, at the sign-in page that a connector has printed, and brings the answer back
/// to it.
pub(crate) async fn sign_in(org: &OrgString, page: &str, name: &str, password: &str) {
    let http = browser(org);
    let shown = http.get(page).send().await.unwrap();
    let cookie = shown.headers().get(SET_COOKIE).unwrap().to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let html = shown.text().await.unwrap();
    let (_, ticket) = html.split_once("name=\"ticket\" value=\"").unwrap();
    let (ticket, _) = ticket.split_once('"').unwrap();
    let (origin, _) = page.split_once("/openid/").unwrap();
    let form = [("ticket", ticket), ("username", name), ("password", password)];
    let login = http.post(format!("{origin}/openid/login")).header(COOKIE, cookie).form(&form);
    let answer = login.send().await.unwrap();
    let back = answer.headers().get(LOCATION).expect("the password is right").to_str().unwrap();
    let sent_on = http.get(back).send().await.unwrap();
    let last = sent_on.url().join(sent_on.headers().get(LOCATION).unwrap().to_str().unwrap()).unwrap();
    assert!(http.get(last).send().await.unwrap().status().is_success());
}

/// A browser that trusts the organisation's own certificate authority.
pub(crate) fn browser(org: &OrgString) -> reqwest::Client {
    let trust = Trust::Pinned(org.root.unwrap());
    let tls = tls::client_config(&trust, None, Alpn::Http).unwrap();
    let browser = reqwest::Client::builder().tls_backend_preconfigured((*tls).clone());
    browser.redirect(Policy::none()).no_proxy().build().unwrap()
}
