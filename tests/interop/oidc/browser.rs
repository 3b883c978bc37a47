use std::collections::BTreeMap;
use std::sync::Mutex;

use openidconnect::url::{Url, form_urlencoded};
use reqwest::header::{LOCATION, SET_COOKIE};
use reqwest::{Client, Response};

/// A person at a browser: follows redirects, keeps cookies, fills in the forms it is shown.
pub(super) struct Browser {
    http: Client,
    cookies: Mutex<BTreeMap<String, String>>,
}

/// Where a sign-in comes back to.
pub(super) const BACK: &str = "http://127.0.0.1:7777/back";

impl Browser {
    pub(super) fn new(http: Client) -> Self {
        Self { http, cookies: Mutex::default() }
    }

    /// Signs in as `login` at the page behind `address`, agrees to everything, and ends where it is sent to.
    pub(super) async fn sign_in(&self, address: &str, login: &str) -> String {
        let mut page = self.get(address).await;
        for _ in 0..10 {
            if let Some(to) = self.location(&page) {
                if to.as_str().starts_with(BACK) {
                    return to.into();
                }
                page = self.get(to.as_str()).await;
                continue;
            }
            let html = page.text().await.expect("a page");
            let (action, prompt) = (attribute(&html, "action"), attribute(&html, "name=\"prompt\" value"));
            page = self.post(&action, &[("prompt", &prompt), ("login", login), ("password", "any")]).await;
        }
        panic!("the provider leads nowhere");
    }

    /// Signs out at the provider.
    pub(super) async fn sign_out(&self, issuer: &str) {
        let page = self.get(&format!("{issuer}/session/end")).await;
        let html = page.text().await.expect("a page");
        let (action, xsrf) = (attribute(&html, "action"), attribute(&html, "name=\"xsrf\" value"));
        let answer = self.post(&action, &[("xsrf", &xsrf), ("logout", "yes")]).await;
        assert!(answer.status().is_redirection() || answer.status().is_success(), "{}", answer.status());
    }

    async fn get(&self, address: &str) -> Response {
        let answer = self.http.get(address).header("cookie", self.cookies()).send().await;
        self.keep_cookies(answer.expect("an answer"))
    }

    async fn post(&self, address: &str, fields: &[(&str, &str)]) -> Response {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.http.post(address).header("cookie", self.cookies());
        let answer =
            request.header("content-type", "application/x-www-form-urlencoded").body(form).send().await;
        self.keep_cookies(answer.expect("an answer"))
    }

    fn location(&self, answer: &Response) -> Option<Url> {
        let to = answer.headers().get(LOCATION)?.to_str().expect("text");
        Some(answer.url().join(to).expect("an address"))
    }

    /// All of them, wherever: there is one host.
    fn cookies(&self) -> String {
        let cookies = self.cookies.lock().expect("unpoisoned");
        cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn keep_cookies(&self, answer: Response) -> Response {
        let mut cookies = self.cookies.lock().expect("unpoisoned");
        for set in answer.headers().get_all(SET_COOKIE) {
            let pair = set.to_str().expect("text").split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').expect("a pair");
            if value.is_empty() {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        drop(cookies);
        answer
    }
}

/// The value after the first `name="`.
fn attribute(html: &str, name: &str) -> String {
    let (_, rest) = html.split_once(&format!("{name}=\"")).unwrap_or_else(|| panic!("no `{name}` in {html}"));
    rest.split('"').next().unwrap_or_default().to_owned()
}
