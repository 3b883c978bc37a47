use axum::http::StatusCode;
use ztna_model::secs;

use super::world::{NOW, browser, encode, good_request, named, org, random, with};
use crate::openid::authorization::Misdirected;
use crate::openid::pages::{Page, Pages, Refusal, SupportCode};
use crate::openid::sign_in::Notice;

fn login_page(title: &str, redirect: &str, name: &str, notice: Option<Notice>) -> Page {
    let query = encode(&with(&good_request(), &[("redirect_uri", Some(redirect))]));
    let login = named(title).ask(&query, browser(), NOW).unwrap();
    Pages::new(called(title), &org()).login(&login, name, notice)
}

#[test]
fn h04_names_with_markup_stay_names() {
    let page =
        login_page("<script>alert(1)</script> & Söhne", "http://127.0.0.1:7777/back", "\"><img src=x>", None);
    assert!(page.html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; Söhne"));
    assert!(page.html.contains(r#"value="&quot;&gt;&lt;img src=x&gt;""#));
    for mark in ["<script", "<img", "onerror=", "{{", "style=", "javascript:"] {
        assert!(!page.html.contains(mark), "{mark}");
    }
}

#[test]
fn the_form_may_be_answered_where_the_redirect_leads_and_nowhere_else() {
    let rows = [
        ("http://127.0.0.1:7777/back", "form-action 'self' http://127.0.0.1:7777;"),
        ("http://[::1]:7777/back", "form-action 'self' http://*:7777;"),
        ("https://acme.example/back", "form-action 'self' https://acme.example;"),
        ("com.example.app:/back", "form-action 'self' com.example.app:;"),
    ];
    for (redirect, expected) in rows {
        let policy = login_page("ACME", redirect, "", None).policy;
        assert!(policy.contains(expected), "{policy}");
        for rule in ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "style-src 'sha256-"]
        {
            assert!(policy.contains(rule), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}

#[test]
fn what_went_wrong_is_said_announced_and_marked() {
    let rows = [
        (Notice::Wrong, StatusCode::FORBIDDEN, None, "The user name or the password is not right."),
        (Notice::Incomplete, StatusCode::BAD_REQUEST, None, "Fill in"),
        (Notice::TooMany(secs(1)), StatusCode::TOO_MANY_REQUESTS, Some(secs(1)), "Wait a second and"),
        (Notice::TooMany(secs(64)), StatusCode::TOO_MANY_REQUESTS, Some(secs(64)), "Wait 64 seconds and"),
        (Notice::TooMany(secs(241)), StatusCode::TOO_MANY_REQUESTS, Some(secs(241)), "Wait 5 minutes and"),
        (Notice::Busy, StatusCode::SERVICE_UNAVAILABLE, Some(secs(3)), "Wait a few seconds"),
        (Notice::Stale, StatusCode::BAD_REQUEST, None, "Enter your password again."),
        (Notice::NoCookie, StatusCode::BAD_REQUEST, None, "allow cookies"),
    ];
    for (notice, status, retry_after, words) in rows {
        let page = login_page("ACME", "http://127.0.0.1:7777/back", "ana", Some(notice));
        assert_eq!((page.status, page.retry_after), (status, retry_after), "{notice:?}");
        assert!(page.html.contains(words), "{notice:?}");
        assert!(page.html.contains(r#"role="alert""#));
        assert!(page.html.contains("<title>Not signed in: "));
        assert!(page.html.contains(r#"value="ana""#), "what was typed stays");
        assert_eq!(page.html.matches(" autofocus").count(), 1);
        let marked = matches!(notice, Notice::Wrong | Notice::Incomplete);
        assert_eq!(page.html.contains(r#"aria-invalid="true""#), marked, "{notice:?}");
    }
}

#[test]
fn a_page_serves_everyone() {
    let page = login_page("ACME", "http://127.0.0.1:7777/back", "", None).html;
    for part in [
        r#"<html lang="en">"#,
        r#"name="viewport""#,
        r#"<label for="username">"#,
        r#"<label for="password">"#,
        r#"autocomplete="username""#,
        r#"autocomplete="current-password""#,
        r#"<form method="post" action="/openid/login">"#,
        "<h1>Sign in</h1>",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("role=\"alert\""));
}

#[test]
fn a_refusal_says_why_what_to_do_and_whom_to_ask() {
    let rows = [
        (Refusal::Misdirected(Misdirected::Unreadable), StatusCode::BAD_REQUEST),
        (Refusal::Misdirected(Misdirected::UnknownClient), StatusCode::BAD_REQUEST),
        (Refusal::Misdirected(Misdirected::UnknownRedirect), StatusCode::BAD_REQUEST),
        (Refusal::AnotherSite, StatusCode::FORBIDDEN),
        (Refusal::Fault, StatusCode::INTERNAL_SERVER_ERROR),
    ];
    for (refusal, status) in rows {
        let code = SupportCode::random(&mut random());
        let page = Pages::new(called("<ACME>"), &org()).refusal(refusal, code);
        assert_eq!(page.status, status);
        assert!(page.html.contains(&code.to_string()) && page.html.contains("&lt;ACME&gt;"));
        assert!(page.policy.contains("form-action 'none'"));
        assert!(!page.html.contains("{{") && !page.html.contains("<form"));
    }
}

fn called(title: &str) -> tokio::sync::watch::Receiver<String> {
    tokio::sync::watch::channel(title.to_owned()).1
}
