use proptest::prelude::*;
use ztna_model::{WallTime, minutes, secs};

use super::world::{
    BACK, NOW, VERIFIER, ana, browser, encode, good_request, parameter, provider, random, with,
};
use crate::openid::account::Account;
use crate::openid::authentication::Authentication;
use crate::openid::exchange::{CodeExchange, Exchange, ExchangeError};
use crate::openid::grant::{Grant, GrantError, GrantState, LIFE, Presented};
use crate::openid::handle::Handle;
use crate::openid::provider::Provider;
use crate::openid::scope::Scopes;

/// A grant to Ana at `NOW`, and its code.
fn offered(provider: &Provider, scope: &str) -> (Grant, String) {
    let query = encode(&with(&good_request(), &[("scope", Some(scope))]));
    let login = provider.ask(&query, browser(), NOW).unwrap();
    let (grant, address) =
        provider.offer(&login.authorization, &ana(), Authentication::by_password(NOW), &mut random());
    (grant, parameter(&address, "code").unwrap())
}

fn redeem(grant: &Grant, presented: (&str, &str), now: WallTime) -> Result<GrantState, GrantError> {
    let presented = Presented { redirect: presented.0, verifier: presented.1 };
    grant.redeem(&presented, now).map(|(after, _)| after.state)
}

fn live(turn: u32, turned: WallTime) -> Grant {
    let (grant, _) = offered(&provider(), "openid offline_access");
    Grant { state: GrantState::Live { turn, turned }, ..grant }
}

#[test]
fn a03_a_code_is_redeemed_by_who_began_where_it_was_sent_in_time() {
    let (grant, _) = offered(&provider(), "openid");
    let (right, other) = ((BACK, VERIFIER), ("http://127.0.0.1:7778/back", VERIFIER));
    let (thief, empty) = ((BACK, "x".repeat(43)), (BACK, ""));
    let rows = [
        (right, NOW, Ok(GrantState::Spent)),
        (right, NOW + secs(60), Ok(GrantState::Spent)),
        (right, NOW + secs(61), Err(GrantError::Unknown)),
        (right, NOW - secs(5), Ok(GrantState::Spent)),
        (right, NOW - secs(6), Err(GrantError::Unknown)),
        (other, NOW, Err(GrantError::WrongRedirect)),
        ((thief.0, thief.1.as_str()), NOW, Err(GrantError::WrongVerifier)),
        (empty, NOW, Err(GrantError::WrongVerifier)),
    ];
    for (presented, now, expected) in rows {
        assert_eq!(redeem(&grant, presented, now), expected, "{presented:?} at {now:?}");
    }
}

#[test]
fn a_code_used_again_is_known_for_what_it_is() {
    let (grant, _) = offered(&provider(), "openid offline_access");
    for state in [GrantState::Spent, GrantState::Live { turn: 0, turned: NOW }, GrantState::Ended] {
        let grant = Grant { state, ..grant.clone() };
        assert_eq!(redeem(&grant, (BACK, VERIFIER), NOW), Err(GrantError::Reused));
    }
}

#[test]
fn a_refresh_token_is_given_where_offline_access_was_asked_for() {
    let provider = provider();
    let rows =
        [("openid", GrantState::Spent), ("openid offline_access", GrantState::Live { turn: 0, turned: NOW })];
    for (scope, state) in rows {
        let (grant, _) = offered(&provider, scope);
        assert_eq!(redeem(&grant, (BACK, VERIFIER), NOW), Ok(state));
    }
}

#[test]
fn refresh_tokens_turn_once_each_and_a_lost_answer_can_be_had_again() {
    let turned = NOW + minutes(60);
    let grant = live(3, turned);
    let next = GrantState::Live { turn: 4, turned: turned + minutes(5) };
    let rows = [
        (3, turned + minutes(5), Ok(next)),
        (2, turned + secs(30), Ok(grant.state.clone())),
        (2, turned + secs(31), Err(GrantError::Reused)),
        (1, turned, Err(GrantError::Reused)),
        (0, turned, Err(GrantError::Reused)),
        (4, turned, Err(GrantError::Reused)),
        (u32::MAX, turned, Err(GrantError::Reused)),
        (3, NOW + LIFE + secs(1), Err(GrantError::Unknown)),
    ];
    for (turn, now, expected) in rows {
        assert_eq!(grant.refresh(turn, now).map(|after| after.state), expected, "{turn} at {now:?}");
    }
    for state in [GrantState::Spent, GrantState::Ended] {
        let grant = Grant { state, ..grant.clone() };
        assert_eq!(grant.refresh(0, turned), Err(GrantError::Unknown));
    }
}

#[test]
fn a_sign_in_counts_while_the_account_lets_it() {
    let (grant, _) = offered(&provider(), "openid");
    let good = Account { subject: grant.subject.clone(), ..ana() };
    let rows = [
        (good.clone(), true),
        (Account { not_before: NOW, ..good.clone() }, true),
        (Account { not_before: NOW + secs(1), ..good.clone() }, false),
        (Account { disabled: true, ..good }, false),
        (ana(), false), // another person of the same name
    ];
    for (account, expected) in rows {
        assert_eq!(grant.is_good_for(&account), expected, "{account:?}");
    }
}

#[test]
fn rows_read_back() {
    let (grant, _) = offered(&provider(), "openid offline_access");
    for state in
        [grant.state.clone(), GrantState::Spent, GrantState::Live { turn: 2, turned: NOW }, GrantState::Ended]
    {
        let grant = Grant { state, ..grant.clone() };
        let row = serde_json::to_string(&grant).unwrap();
        assert_eq!(serde_json::from_str::<Grant>(&row).unwrap(), grant);
    }
    let account = ana();
    let row = serde_json::to_string(&account).unwrap();
    assert_eq!(serde_json::from_str::<Account>(&row).unwrap(), account);
}

fn token_form(code: &str) -> Vec<(&'static str, &str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("client_id", "openztna"),
        ("code", code),
        ("redirect_uri", BACK),
        ("code_verifier", VERIFIER),
    ]
}

#[test]
fn token_requests_and_their_refusals() {
    let provider = provider();
    let (grant, code) = offered(&provider, "openid offline_access");
    let refresh = Handle::Refresh(grant.id, 0).seal(provider.seal());
    let good = token_form(&code);
    let refreshing = [
        ("grant_type", "refresh_token"),
        ("client_id", "openztna"),
        ("refresh_token", refresh.expose().as_str()),
    ];
    let error = |fields: &[(&str, &str)], authenticates| {
        provider.exchange(encode(fields).as_bytes(), authenticates).err().map(|error| error.code())
    };
    let truncated = code.get(1..).unwrap();
    type Row<'a> = (&'a [(&'a str, &'a str)], (&'a str, Option<&'a str>), Option<&'a str>);
    let rows: [Row; 21] = [
        (&good, ("x", Some("y")), None),
        (&good, ("client_id", None), Some("invalid_client")),
        (&good, ("client_id", Some("other")), Some("invalid_client")),
        (&good, ("client_secret", Some("guess")), Some("invalid_client")),
        (&good, ("client_assertion", Some("eyJ")), Some("invalid_client")),
        (&good, ("grant_type", None), Some("invalid_request")),
        (&good, ("grant_type", Some("password")), Some("unsupported_grant_type")),
        (&good, ("grant_type", Some("client_credentials")), Some("unsupported_grant_type")),
        (&good, ("code", None), Some("invalid_request")),
        (&good, ("code", Some("guess")), Some("invalid_grant")),
        (&good, ("code", Some(truncated)), Some("invalid_grant")),
        (&good, ("code", Some(refresh.expose())), Some("invalid_grant")),
        (&good, ("redirect_uri", None), Some("invalid_request")),
        (&good, ("code_verifier", None), Some("invalid_request")),
        (&refreshing, ("x", Some("y")), None),
        (&refreshing, ("refresh_token", None), Some("invalid_request")),
        (&refreshing, ("refresh_token", Some("guess")), Some("invalid_grant")),
        (&refreshing, ("refresh_token", Some(&code)), Some("invalid_grant")),
        (&refreshing, ("scope", Some("openid")), None),
        (&refreshing, ("scope", Some("profile")), Some("invalid_scope")),
        (&refreshing, ("client_id", Some("other")), Some("invalid_client")),
    ];
    for (fields, change, expected) in rows {
        assert_eq!(error(&with(fields, &[change]), false), expected, "{change:?}");
    }
    assert_eq!(error(&good, true), Some("invalid_client"), "a public client does not authenticate");
    let twice = [&good[..], &[("code", "other")]].concat();
    assert_eq!(error(&twice, false), Some("invalid_request"));
}

#[test]
fn what_a_good_request_holds() {
    let provider = provider();
    let (grant, code) = offered(&provider, "openid");
    let Ok(Exchange::Code(CodeExchange { id, redirect, .. })) =
        provider.exchange(encode(&token_form(&code)).as_bytes(), false)
    else {
        panic!("refused");
    };
    assert_eq!((id, redirect.as_str()), (grant.id, BACK));
    let form = encode(&[("client_id", "openztna"), ("token", &code)]);
    assert_eq!(provider.revocation(form.as_bytes(), false), Ok(None), "a code is not revoked");
    let refresh = Handle::Refresh(grant.id, 7).seal(provider.seal());
    let form = encode(&[("client_id", "openztna"), ("token", refresh.expose())]);
    assert_eq!(provider.revocation(form.as_bytes(), false), Ok(Some(grant.id)));
    assert_eq!(provider.revocation(form.as_bytes(), true), Err(ExchangeError::WrongClient));
}

#[test]
fn handles_are_ours_and_of_their_kind() {
    let (ours, grant) = (provider(), live(0, NOW));
    let token = Handle::Refresh(grant.id, 5).seal(ours.seal());
    assert_eq!(Handle::open_refresh(token.expose(), ours.seal()), Some((grant.id, 5)));
    assert_eq!(Handle::open_code(token.expose(), ours.seal()), None);
    assert_eq!(Handle::Refresh(grant.id, 5).seal(ours.seal()), token, "the same each time");
    assert_eq!(format!("{token:?}"), "…");
    let scopes = Scopes::parse("openid").unwrap();
    assert!(grant.scopes.cover(&scopes) && !scopes.cover(&grant.scopes));
}

proptest! {
    #[test]
    fn c03_no_other_text_opens(text in "[A-Za-z0-9_-]{0,80}") {
        let ours = provider();
        prop_assert_eq!(Handle::open_code(&text, ours.seal()), None);
        prop_assert_eq!(Handle::open_refresh(&text, ours.seal()), None);
    }
}
