use std::net::IpAddr;
use std::num::NonZeroUsize;

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use ztna_model::WallTime;

use super::world::{
    BACK, NOW, PASSWORD, VERIFIER, ana_with_password, browser, encode, good_request, org, parameter,
    provider, random, with,
};
use crate::openid::account::{Account, Subject};
use crate::openid::authorization::Refused;
use crate::openid::browser::{BrowserId, Cookies};
use crate::openid::exchange::ExchangeError;
use crate::openid::grant::GrantError;
use crate::openid::memory::Memory;
use crate::openid::service::{Failure, Service};
use crate::openid::sign_in::{Notice, SignIn};
use crate::openid::store::Event;
use crate::openid::ticket::Ticket;

/// The service with Ana's account in its store, and one browser.
struct Scene {
    service: Service<Memory>,
    browser: BrowserId,
    cookies: Vec<String>,
}

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

impl Scene {
    fn new(account: Account) -> Self {
        let store = Memory::default();
        store.put(&org(), account);
        let service = Service::new(provider(), store, NonZeroUsize::new(2).unwrap());
        let browser = browser();
        Self { service, browser, cookies: vec![browser.set_cookie()] }
    }

    fn cookies(&self) -> Cookies {
        let mut headers = HeaderMap::new();
        for cookie in &self.cookies {
            headers.append(COOKIE, cookie.split(';').next().unwrap().parse().unwrap());
        }
        Cookies::read(&headers)
    }

    /// Fills the form of a page that was just shown.
    async fn log_in(&self, name: &str, password: &str) -> Result<SignIn, Failure<Refused>> {
        let login = self.service.ask(&encode(&good_request()), self.browser).unwrap();
        let form = encode(&[("ticket", &login.ticket), ("username", name), ("password", password)]);
        self.service.sign_in(form.as_bytes(), &self.cookies(), self.browser, SOURCE).await
    }

    async fn notice(&self, name: &str, password: &str) -> Option<Notice> {
        match self.log_in(name, password).await.unwrap() {
            SignIn::Done { .. } => None,
            SignIn::Again { notice, .. } => Some(notice),
        }
    }

    async fn code(&self) -> String {
        let SignIn::Done { address, .. } = self.log_in("ana", PASSWORD).await.unwrap() else {
            panic!("not in")
        };
        assert!(address.starts_with(BACK));
        parameter(&address, "code").unwrap()
    }

    async fn redeem(&self, code: &str, verifier: &str) -> Result<Option<String>, ExchangeError> {
        self.exchange(&[
            ("grant_type", "authorization_code"),
            ("client_id", "openztna"),
            ("code", code),
            ("redirect_uri", BACK),
            ("code_verifier", verifier),
        ])
        .await
    }

    async fn refresh(&self, token: &str) -> Result<Option<String>, ExchangeError> {
        self.exchange(&[("grant_type", "refresh_token"), ("client_id", "openztna"), ("refresh_token", token)])
            .await
    }

    /// The refresh token that comes back.
    async fn exchange(&self, fields: &[(&str, &str)]) -> Result<Option<String>, ExchangeError> {
        use openidconnect::OAuth2TokenResponse as _;

        match self.service.exchange(encode(fields).as_bytes(), false).await {
            Ok(tokens) => Ok(tokens.refresh_token().map(|token| token.secret().clone())),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Fault(cause)) => panic!("{cause}"),
        }
    }
}

const GONE: Result<Option<String>, ExchangeError> = Err(ExchangeError::Grant(GrantError::PersonGone));
const REUSED: Result<Option<String>, ExchangeError> = Err(ExchangeError::Grant(GrantError::Reused));
const UNKNOWN: Result<Option<String>, ExchangeError> = Err(ExchangeError::Grant(GrantError::Unknown));

#[tokio::test]
async fn names_and_passwords() {
    let scene = Scene::new(ana_with_password());
    let rows = [
        ("ana", PASSWORD, None),
        (" Ana ", PASSWORD, None),
        ("ana", "", Some(Notice::Incomplete)),
        ("", PASSWORD, Some(Notice::Incomplete)),
        ("ana", "wrong", Some(Notice::Wrong)),
        ("bo", PASSWORD, Some(Notice::Wrong)),
        ("a\0b", PASSWORD, Some(Notice::Wrong)),
        ("ana", "correct horse battery ", Some(Notice::Wrong)),
    ];
    for (name, password, expected) in rows {
        assert_eq!(scene.notice(name, password).await, expected, "{name:?}");
    }
}

#[tokio::test]
async fn h01_nobody_learns_which_names_exist() {
    let disabled = Account { disabled: true, ..ana_with_password() };
    let scene = Scene::new(disabled);
    for (name, password) in [("ana", PASSWORD), ("ana", "wrong"), ("nobody", "wrong")] {
        assert_eq!(scene.notice(name, password).await, Some(Notice::Wrong), "{name}");
    }
    let noted = scene.service.store().events();
    let subjects: Vec<bool> =
        noted.iter().map(|event| matches!(event, Event::Refused { subject: Some(_) })).collect();
    assert_eq!(subjects, [true, true, false], "the audit log knows, and names nobody that does not exist");
}

#[tokio::test]
async fn h01_who_guesses_waits_whether_the_name_exists_or_not() {
    for name in ["ana", "nobody"] {
        let scene = Scene::new(ana_with_password());
        for _ in 0..5 {
            assert_eq!(scene.notice(name, "wrong").await, Some(Notice::Wrong));
        }
        for password in ["wrong", PASSWORD] {
            let notice = scene.notice(name, password).await;
            assert!(
                matches!(notice, Some(Notice::TooMany(wait)) if wait.as_millis() <= 1_000),
                "{name}: {notice:?}"
            );
        }
    }
}

#[tokio::test]
async fn h01_a_known_browser_is_not_locked_out_by_strangers() {
    let mut scene = Scene::new(ana_with_password());
    let SignIn::Done { known, .. } = scene.log_in("ana", PASSWORD).await.unwrap() else { panic!("not in") };
    for _ in 0..5 {
        assert_eq!(scene.notice("ana", "wrong").await, Some(Notice::Wrong));
    }
    assert!(matches!(scene.notice("ana", PASSWORD).await, Some(Notice::TooMany(_))));
    scene.cookies.push(known);
    assert_eq!(scene.notice("ana", PASSWORD).await, None);
}

#[tokio::test]
async fn h04_a_form_from_elsewhere_signs_nobody_in() {
    let scene = Scene::new(ana_with_password());
    let mallory = scene.service.ask(&encode(&good_request()), browser()).unwrap().ticket;
    let form = encode(&[("ticket", &mallory), ("username", "ana"), ("password", PASSWORD)]);
    for cookies in [scene.cookies(), Cookies::default()] {
        let outcome = scene.service.sign_in(form.as_bytes(), &cookies, scene.browser, SOURCE).await.unwrap();
        assert!(matches!(outcome, SignIn::Again { notice: Notice::NoCookie, .. }));
    }
    // A form that lacks its ticket, or has a request in it that no rule allows, is no form.
    let evil = encode(&with(&good_request(), &[("redirect_uri", Some("https://evil.example/"))]));
    let evil = Ticket::issue(&evil, scene.browser, scene.service.provider().seal(), NOW);
    for ticket in ["", "AAAA", &evil] {
        let form = encode(&[("ticket", ticket), ("username", "ana"), ("password", PASSWORD)]);
        assert!(
            scene.service.sign_in(form.as_bytes(), &scene.cookies(), scene.browser, SOURCE).await.is_err()
        );
    }
}

#[tokio::test]
async fn a04_a_browser_stays_signed_out() {
    // Whatever cookies a browser holds after a sign-in, the next one asks for the password again.
    let mut scene = Scene::new(ana_with_password());
    let SignIn::Done { known, .. } = scene.log_in("ana", PASSWORD).await.unwrap() else { panic!("not in") };
    scene.cookies.push(known);
    assert_eq!(scene.notice("ana", "wrong").await, Some(Notice::Wrong));
    assert_eq!(scene.notice("ana", "").await, Some(Notice::Incomplete));
}

#[tokio::test]
async fn a03_a_thief_s_try_costs_the_owner_nothing_and_gains_nothing() {
    let scene = Scene::new(ana_with_password());
    let code = scene.code().await;
    let wrong = Err(ExchangeError::Grant(GrantError::WrongVerifier));
    assert_eq!(scene.redeem(&code, &"x".repeat(43)).await, wrong);
    assert!(scene.redeem(&code, VERIFIER).await.unwrap().is_some());
}

#[tokio::test]
async fn a06_a_code_used_twice_ends_what_it_gave() {
    let scene = Scene::new(ana_with_password());
    let code = scene.code().await;
    let refresh = scene.redeem(&code, VERIFIER).await.unwrap().unwrap();
    assert_eq!(scene.redeem(&code, VERIFIER).await, REUSED);
    assert_eq!(scene.refresh(&refresh).await, UNKNOWN);
    assert_eq!(scene.redeem(&code, VERIFIER).await, REUSED);
    let reused = |event: &Event| matches!(event, Event::Reused { .. });
    assert_eq!(scene.service.store().events().into_iter().filter(reused).count(), 1, "told once");
}

#[tokio::test]
async fn a06_a_code_used_twice_at_once_gives_at_most_one_answer() {
    let scene = Scene::new(ana_with_password());
    for _ in 0..5 {
        let code = scene.code().await;
        let (one, two) = tokio::join!(scene.redeem(&code, VERIFIER), scene.redeem(&code, VERIFIER));
        assert!(one.is_err() || two.is_err());
    }
}

#[tokio::test]
async fn a06_a_refresh_token_used_again_ends_the_family() {
    let scene = Scene::new(ana_with_password());
    let first = scene.redeem(&scene.code().await, VERIFIER).await.unwrap().unwrap();
    let second = scene.refresh(&first).await.unwrap().unwrap();
    assert_eq!(scene.refresh(&first).await.unwrap().unwrap(), second, "the answer got lost");
    let third = scene.refresh(&second).await.unwrap().unwrap();
    assert_ne!(second, third);
    assert_eq!(scene.refresh(&first).await, REUSED, "its successor was used");
    assert_eq!(scene.refresh(&third).await, UNKNOWN, "the family is dead");
}

#[tokio::test]
async fn a_person_who_may_not_sign_in_any_more_gets_no_fresh_evidence() {
    let changes: [fn(&mut Account); 3] = [
        |account| account.disabled = true,
        |account| account.not_before = WallTime::from_millis(u64::MAX),
        |account| account.subject = Subject::random(&mut random()),
    ];
    for change in changes {
        let account = ana_with_password();
        let scene = Scene::new(account.clone());
        let code = scene.code().await;
        let refresh = scene.redeem(&code, VERIFIER).await.unwrap().unwrap();
        let late = scene.code().await;
        let mut changed = account.clone();
        change(&mut changed);
        scene.service.store().put(&org(), changed);
        assert_eq!(scene.refresh(&refresh).await, GONE);
        assert_eq!(scene.redeem(&late, VERIFIER).await, GONE);
        scene.service.store().put(&org(), account);
        assert_eq!(scene.refresh(&refresh).await, UNKNOWN, "it does not come back");
    }
}

#[tokio::test]
async fn fewer_scopes_may_be_asked_for_and_no_more() {
    let scene = Scene::new(ana_with_password());
    let token = scene.redeem(&scene.code().await, VERIFIER).await.unwrap().unwrap();
    let narrow = [
        ("grant_type", "refresh_token"),
        ("client_id", "openztna"),
        ("refresh_token", &token),
        ("scope", "openid groups"),
    ];
    assert!(scene.exchange(&narrow).await.is_ok());
}

#[tokio::test]
async fn a_client_gives_its_refresh_token_back() {
    let scene = Scene::new(ana_with_password());
    let token = scene.redeem(&scene.code().await, VERIFIER).await.unwrap().unwrap();
    for token in ["unknown", &token, &token] {
        let form = encode(&[("client_id", "openztna"), ("token", token)]);
        assert!(scene.service.revoke(form.as_bytes(), false).await.is_ok());
    }
    assert_eq!(scene.refresh(&token).await, UNKNOWN);
    let events = scene.service.store().events();
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Revoked { .. })).count(), 1);
}
