use std::time::Duration;

use axum::http::StatusCode;
use ring::digest::{SHA256, digest};
use tokio::sync::watch;
use ztna_model::{OrgId, Random};

use super::authorization::Misdirected;
use super::markup::Markup;
use super::provider::Login;
use super::sign_in::Notice;

/// What people see. Every word from outside goes through [`Markup::text`].
pub(crate) struct Pages {
    title: watch::Receiver<String>,
    authority: Markup,
    style_source: String,
}

/// One page, and what a browser may do with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) html: String,
    /// The `Content-Security-Policy`.
    pub(crate) policy: String,
    /// When to come back, if waiting helps.
    pub(crate) retry_after: Option<Duration>,
}

/// Why a page says no and leads nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The link is not one of a client of ours.
    Misdirected(Misdirected),
    /// Another site sent the form.
    AnotherSite,
    /// Our fault.
    Fault,
}

/// Six characters that are read aloud easily: they stand on the page and in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SupportCode([u8; 6]);

impl Pages {
    pub(crate) fn new(title: watch::Receiver<String>, org: &OrgId) -> Self {
        let hash = base64(digest(&SHA256, STYLE.as_bytes()).as_ref());
        Self { title, authority: Markup::text(org.authority()), style_source: format!("'sha256-{hash}'") }
    }

    /// The login page, with the name that was typed before and what went wrong, if anything did.
    pub(crate) fn login(&self, login: &Login, name: &str, notice: Option<Notice>) -> Page {
        let is_wrong = matches!(notice, Some(Notice::Wrong | Notice::Incomplete));
        let (name_state, password_state) = states(name.is_empty(), is_wrong);
        let html = Markup::fill(
            LOGIN,
            &[
                ("title", &self.title()),
                ("authority", &self.authority),
                ("style", &Markup::own(STYLE)),
                ("problem", &Markup::own(if notice.is_some() { "Not signed in: " } else { "" })),
                ("notice", &notice.map(|notice| notice_markup(&notice)).unwrap_or_default()),
                ("ticket", &Markup::text(&login.ticket)),
                ("name", &Markup::text(name)),
                ("name-state", &Markup::own(name_state)),
                ("password-state", &Markup::own(password_state)),
            ],
        );
        // Browsers apply `form-action` to where the answer to the form leads as well.
        let form_action = format!("'self' {}", login.authorization.redirect.form_target());
        let (status, retry_after) = notice.map_or((StatusCode::OK, None), |notice| outcome(&notice));
        Page { status, html: html.into_string(), policy: self.policy(&form_action), retry_after }
    }

    /// A page that ends here.
    pub(crate) fn refusal(&self, refusal: Refusal, code: SupportCode) -> Page {
        let (status, heading, why, what) = words(refusal);
        let html = Markup::fill(
            REFUSAL,
            &[
                ("title", &self.title()),
                ("authority", &self.authority),
                ("style", &Markup::own(STYLE)),
                ("heading", &Markup::own(heading)),
                ("why", &Markup::own(why)),
                ("what", &Markup::own(what)),
                ("code", &Markup::text(&code.to_string())),
            ],
        );
        Page { status, html: html.into_string(), policy: self.policy("'none'"), retry_after: None }
    }

    fn title(&self) -> Markup {
        Markup::text(&self.title.borrow())
    }

    fn policy(&self, form_action: &str) -> String {
        format!(
            "default-src 'none'; style-src {}; form-action {form_action}; base-uri 'none'; frame-ancestors 'none'",
            self.style_source
        )
    }
}

/// Where the cursor stands, and which fields are marked.
const fn states(no_name: bool, is_wrong: bool) -> (&'static str, &'static str) {
    match (no_name, is_wrong) {
        (true, false) => (" autofocus", ""),
        (false, false) => ("", " autofocus"),
        (true, true) => (INVALID_FOCUSED, INVALID),
        (false, true) => (INVALID, INVALID_FOCUSED),
    }
}

fn notice_markup(notice: &Notice) -> Markup {
    let (head, text) = match notice {
        Notice::Wrong => ("That did not work", "The user name or the password is not right.".into()),
        Notice::Incomplete => ("Something is missing", "Fill in your user name and your password.".into()),
        Notice::TooMany(wait) => ("Too many tries", format!("Wait {} and try again.", span(*wait))),
        Notice::Busy => ("Many people are signing in", "Wait a few seconds and try again.".into()),
        Notice::Stale => ("This page was open for long", "Enter your password again.".into()),
        Notice::NoCookie => (
            "Your browser did not send its cookie",
            "Try again. If this stays, allow cookies for this page.".into(),
        ),
    };
    Markup::fill(NOTICE, &[("head", &Markup::own(head)), ("text", &Markup::text(&text))])
}

const fn outcome(notice: &Notice) -> (StatusCode, Option<Duration>) {
    match notice {
        Notice::Wrong => (StatusCode::FORBIDDEN, None),
        Notice::Incomplete | Notice::Stale | Notice::NoCookie => (StatusCode::BAD_REQUEST, None),
        Notice::TooMany(wait) => (StatusCode::TOO_MANY_REQUESTS, Some(*wait)),
        Notice::Busy => (StatusCode::SERVICE_UNAVAILABLE, Some(BREATH)),
    }
}

const fn words(refusal: Refusal) -> (StatusCode, &'static str, &'static str, &'static str) {
    match refusal {
        Refusal::Misdirected(Misdirected::Unreadable) => (
            StatusCode::BAD_REQUEST,
            "This sign-in cannot go on",
            "The link that brought you here is damaged.",
            "Go back to OpenZTNA and start again.",
        ),
        Refusal::Misdirected(Misdirected::UnknownClient | Misdirected::UnknownRedirect) => (
            StatusCode::BAD_REQUEST,
            "This sign-in cannot go on",
            "The app that sent you here is not one that may sign you in.",
            "If it was OpenZTNA, update it and start again. If not, close this page.",
        ),
        Refusal::AnotherSite => (
            StatusCode::FORBIDDEN,
            "This sign-in was stopped",
            "Another website tried to sign you in.",
            "Nothing has happened. Close this page, and start from OpenZTNA.",
        ),
        Refusal::Fault => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong on our side",
            "You are not signed in.",
            "Go back to OpenZTNA and try again in a minute.",
        ),
    }
}

/// A wait as people say it, never shorter than it is.
fn span(wait: Duration) -> String {
    let secs = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    match secs {
        0 | 1 => "a second".into(),
        2..=90 => format!("{secs} seconds"),
        _ => format!("{} minutes", secs.div_ceil(60)),
    }
}

impl SupportCode {
    pub(crate) fn random(random: &mut dyn Random) -> Self {
        let mut code = [0; 6];
        random.fill(&mut code);
        let letter = |byte: &u8| LETTERS.get(usize::from(byte % 32)).copied().unwrap_or(b'X');
        Self(code.map(|byte| letter(&byte)))
    }
}

impl std::fmt::Display for SupportCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

fn base64(bytes: &[u8]) -> String {
    // The source expression takes either alphabet (CSP 3, 2.3.1).
    ztna_model::base64url::encode(bytes) + "="
}

const LOGIN: &str = include_str!("pages/login.html");
const REFUSAL: &str = include_str!("pages/refusal.html");
const STYLE: &str = include_str!("pages/page.css");
const NOTICE: &str = r#"<div class="notice" role="alert" id="notice"><svg viewBox="0 0 20 20" aria-hidden="true" focusable="false"><circle cx="10" cy="10" r="8"/><path d="M10 5.75v5M10 14v.25"/></svg><p><strong>{{head}}</strong>{{text}}</p></div>"#;
const INVALID: &str = r#" aria-invalid="true" aria-describedby="notice""#;
const INVALID_FOCUSED: &str = r#" aria-invalid="true" aria-describedby="notice" autofocus"#;
const BREATH: Duration = Duration::from_secs(3);
/// Digits and capitals without those that look or sound alike.
const LETTERS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
