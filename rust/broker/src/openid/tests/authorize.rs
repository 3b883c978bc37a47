use proptest::prelude::*;

use super::world::{BACK, ISSUER, NOW, browser, encode, good_request, parameter, provider, with};
use crate::openid::authorization::{Misdirected, Refused};

/// What a request comes to when some parameters are other than right: the page (`Ok`), the page's refusal, or the
/// error that the client is told.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Outcome {
    Page,
    Refused(Misdirected),
    Told(&'static str),
}

use Misdirected::{UnknownClient, UnknownRedirect, Unreadable};
use Outcome::{Page, Refused as Shown, Told};

#[track_caller]
fn check(changes: &[(&str, Option<&str>)], expected: Outcome) {
    check_query(&encode(&with(&good_request(), changes)), expected);
}

#[track_caller]
fn check_query(query: &str, expected: Outcome) {
    let provider = provider();
    let outcome = match provider.ask(query, browser(), NOW) {
        Ok(_) => Page,
        Err(Refused::Here(why)) => Shown(why),
        Err(Refused::Back { redirect, error, state }) => {
            let address = provider.refuse(&redirect, error, state.as_deref());
            assert_eq!(parameter(&address, "iss").as_deref(), Some(ISSUER), "{query}");
            assert_eq!(parameter(&address, "error").as_deref(), Some(error.code()), "{query}");
            assert_eq!(parameter(&address, "code"), None);
            assert_eq!(parameter(&address, "state"), state);
            Told(error.code())
        }
    };
    assert_eq!(outcome, expected, "{query}");
}

#[test]
fn a_good_request_is_granted_and_remembered() {
    let login = provider().ask(&encode(&good_request()), browser(), NOW).unwrap();
    let authorization = login.authorization;
    assert_eq!(authorization.redirect.as_str(), BACK);
    assert_eq!(authorization.state.as_deref(), Some("state-1"));
    assert_eq!(authorization.nonce.as_deref(), Some("nonce-1"));
    assert_eq!(authorization.login_hint, None);
}

#[test]
fn a03_nothing_is_sent_to_a_client_or_a_redirect_that_is_not_verified() {
    check(&[("client_id", None)], Shown(UnknownClient));
    check(&[("client_id", Some("other"))], Shown(UnknownClient));
    check(&[("client_id", Some("OPENZTNA"))], Shown(UnknownClient));
    check(&[("redirect_uri", None)], Shown(UnknownRedirect));
    check(&[("redirect_uri", Some("https://evil.example/back"))], Shown(UnknownRedirect));
    check(&[("redirect_uri", Some("http://127.0.0.1:7777/back?x=1"))], Shown(UnknownRedirect));
    check(&[("redirect_uri", Some("http://127.0.0.1:7777/back#"))], Shown(UnknownRedirect));
    check(&[("redirect_uri", Some("http://127.0.0.1:7777@evil.example/back"))], Shown(UnknownRedirect));
    check(&[("redirect_uri", Some("javascript:alert(1)"))], Shown(UnknownRedirect));
    let good = encode(&good_request());
    check_query(&format!("{good}&client_id=openztna"), Shown(Unreadable));
    check_query(&format!("{good}&redirect_uri=http://127.0.0.1:1/back"), Shown(Unreadable));
    check_query(&format!("{good}&x={}", "x".repeat(20_000)), Shown(Unreadable));
    check_query("", Shown(UnknownClient));
}

#[test]
fn a03_redirects_that_are_allowed() {
    for redirect in [
        "http://127.0.0.1:1/back",
        "http://[::1]:65535/back",
        "https://acme.example/back",
        "com.example.app:/back",
    ] {
        check(&[("redirect_uri", Some(redirect))], Page);
        check(&[("redirect_uri", Some(redirect)), ("scope", None)], Told("invalid_scope"));
    }
}

#[test]
fn a03_no_code_without_proof_of_who_began() {
    check(&[("code_challenge", None)], Told("invalid_request"));
    check(&[("code_challenge", Some("short"))], Told("invalid_request"));
    check(
        &[("code_challenge", Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-c="))],
        Told("invalid_request"),
    );
    check(&[("code_challenge_method", None)], Told("invalid_request"));
    check(&[("code_challenge_method", Some("plain"))], Told("invalid_request"));
    check(&[("code_challenge_method", Some("s256"))], Told("invalid_request"));
}

#[test]
fn what_a_verified_client_is_told() {
    check(&[("response_type", None)], Told("invalid_request"));
    check(&[("response_type", Some("token"))], Told("unsupported_response_type"));
    check(&[("response_type", Some("id_token"))], Told("unsupported_response_type"));
    check(&[("response_type", Some("code id_token"))], Told("unsupported_response_type"));
    check(&[("response_mode", Some("query"))], Page);
    check(&[("response_mode", Some("fragment"))], Told("invalid_request"));
    check(&[("response_mode", Some("form_post"))], Told("invalid_request"));
    check(&[("scope", Some("profile"))], Told("invalid_scope"));
    check(&[("scope", Some("openid"))], Page);
    check(&[("scope", Some("openid unheard-of"))], Page);
    check(&[("request", Some("eyJ"))], Told("request_not_supported"));
    check(&[("request_uri", Some("https://acme.example/r"))], Told("request_uri_not_supported"));
    check(&[("registration", Some("{}"))], Told("registration_not_supported"));
    check(&[("claims", Some("{}")), ("ui_locales", Some("de")), ("display", Some("page"))], Page);
    check(&[("nonce", None)], Page);
    check(&[("nonce", Some(&*"n".repeat(513)))], Told("invalid_request"));
}

#[test]
fn a04_the_state_comes_back_as_it_was() {
    let provider = provider();
    for state in ["s", "a b&c=d#e%", "ü", "<script>"] {
        let query = encode(&with(&good_request(), &[("state", Some(state)), ("scope", None)]));
        let Err(Refused::Back { redirect, error, state: kept }) = provider.ask(&query, browser(), NOW) else {
            panic!("{state}");
        };
        let address = provider.refuse(&redirect, error, kept.as_deref());
        assert_eq!(parameter(&address, "state").as_deref(), Some(state));
    }
    check(&[("state", None)], Page);
    check(&[("state", Some(&*"s".repeat(512)))], Page);
    check(&[("state", Some(&*"s".repeat(513)))], Told("invalid_request"));
    let good = encode(&good_request());
    check_query(&format!("{good}&state=other"), Told("invalid_request"));
    check_query(&format!("{good}&nonce=other"), Told("invalid_request"));
}

#[test]
fn how_the_person_shall_be_asked() {
    check(&[("prompt", Some("login"))], Page);
    check(&[("prompt", Some("consent select_account"))], Page);
    check(&[("prompt", Some("none"))], Told("login_required"));
    check(&[("prompt", Some("none login"))], Told("invalid_request"));
    check(&[("prompt", Some("create"))], Told("invalid_request"));
    check(&[("max_age", Some("0"))], Page);
    check(&[("max_age", Some("3600"))], Page);
    check(&[("max_age", Some("-1"))], Told("invalid_request"));
    check(&[("max_age", Some("soon"))], Told("invalid_request"));
    check(&[("acr_values", Some("https://refeds.org/profile/sfa"))], Page);
    check(&[("acr_values", Some("phr https://refeds.org/profile/sfa"))], Page);
    check(
        &[("acr_values", Some("https://refeds.org/profile/mfa"))],
        Told("unmet_authentication_requirements"),
    );
    check(&[("login_hint", Some("ana@acme.example"))], Page);
    check(&[("login_hint", Some(&*"a".repeat(300)))], Page);
}

proptest! {
    #[test]
    fn a03_no_request_leads_to_where_no_rule_leads(
        changes in proptest::collection::vec((0_usize..8, any::<String>()), 0..4),
        redirect in prop_oneof![
            Just(BACK.to_owned()), any::<String>(), "http://(127\\.0\\.0\\.1|\\[::1\\])[:@/?#.a-z0-9]{0,20}",
        ],
    ) {
        let mut fields = with(&good_request(), &[("redirect_uri", Some(&redirect))]);
        let names = fields.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        for (at, value) in &changes {
            if names[*at] != "redirect_uri" {
                fields[*at].1 = value;
            }
        }
        match provider().ask(&encode(&fields), browser(), NOW) {
            Ok(login) => prop_assert_eq!(login.authorization.redirect.as_str(), &redirect),
            Err(Refused::Back { redirect: back, .. }) => prop_assert_eq!(back.as_str(), &redirect),
            Err(Refused::Here(_)) => return Ok(()),
        }
        let port = redirect.strip_prefix("http://127.0.0.1:").or(redirect.strip_prefix("http://[::1]:"));
        let port = port.and_then(|rest| rest.strip_suffix("/back"));
        let is_port = port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        prop_assert!(is_port || redirect == "https://acme.example/back" || redirect == "com.example.app:/back");
    }
}
