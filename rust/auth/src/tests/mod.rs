//! A whole sign-in against an organisation and a provider that answer as they are told.

mod world;

use crate::{ProviderError, SignInError};
use world::{Deviation, World};

/// What a sign-in comes to when one thing deviates: nothing, or the beginning of the error's text.
#[track_caller]
fn check(deviation: Deviation, expected: Result<(), &str>) {
    let outcome = World::new(deviation).sign_in();
    match (&outcome, expected) {
        (Ok(_), Ok(())) => {}
        (Err(error), Err(text)) if error.to_string().contains(text) => {}
        _ => panic!("{deviation:?}: {outcome:?}, not {expected:?}"),
    }
}

#[test]
fn a_sign_in_ends_with_tokens_bound_to_the_device_key() {
    let mut world = World::new(Deviation::None);
    let signed_in = world.sign_in().unwrap();
    assert_eq!(signed_in.tokens.refresh.expose(), "refresh-1");
    assert_eq!(signed_in.provider_refresh.unwrap().expose(), "idp-refresh");
    assert_eq!(signed_in.root, world.root());
    assert_eq!(world.proofs_verified, 2, "one that lacked the nonce, one that had it");
}

#[test]
fn a01_id_tokens_that_are_refused() {
    use Deviation as D;
    let rows = [
        (D::Unsigned, "ID token"),
        (D::AlgorithmNone, "ID token"),
        (D::MacWithPublicKey, "ID token"),
        (D::EmbeddedKey, "ID token"),
        (D::OtherKey, "ID token"),
        (D::WrongAudience, "ID token"),
        (D::SecondAudience, "ID token"),
        (D::WrongIssuerInToken, "ID token"),
        (D::WrongNonce, "ID token"),
        (D::ExpiredBy61s, "ID token"),
        (D::Issued11MinutesAgo, "ID token"),
        (D::NoIdToken, "no ID token"),
    ];
    for (deviation, text) in rows {
        check(deviation, Err(text));
    }
    check(D::ExpiredBy59s, Ok(()));
}

#[test]
fn a02_a_provider_that_is_another_s_is_refused() {
    check(Deviation::MetadataOfAnotherIssuer, Err("its description is not sound"));
    check(Deviation::RedirectFromAnotherIssuer, Err("comes from another identity provider"));
    check(Deviation::RedirectWithoutIssuer, Err("comes from another identity provider"));
}

#[test]
fn p1_3_f01_an_organisation_that_is_not_the_one_asked_for_is_refused() {
    check(Deviation::DiscoveryOfAnotherOrg, Err("answers as `https://evil.example`"));
    check(Deviation::KeysOfAnotherRoot, Err("not trusted"));
    check(Deviation::NewerVersionsOnly, Err("no version in common"));
    check(Deviation::DiscoveryIsHtml, Err("is not an OpenZTNA organisation"));
}

#[test]
fn a_refusal_by_the_organisation_says_why() {
    check(Deviation::PersonRefused, Err("no policy gives you this access"));
    check(Deviation::CodeRefused, Err("refused the code"));
}

#[test]
fn a04_an_answer_to_another_sign_in_changes_nothing() {
    let mut world = World::new(Deviation::None);
    let mut sign_in = world.begin();
    let address = world.until_browser(&mut sign_in);
    let (now, mut random) = (world.now(), world.random());
    for back in
        ["http://127.0.0.1:7777/back?code=x&state=stolen", "http://127.0.0.1:7777/back", "not an address"]
    {
        assert!(sign_in.handle_redirect(back, now, &mut random).is_err());
    }
    let back = world.log_in(&address);
    sign_in.handle_redirect(&back, now, &mut random).unwrap();
    assert!(world.finish(&mut sign_in).is_ok());
    // The state is used up.
    assert!(sign_in.handle_redirect(&back, now, &mut random).is_err());
}

#[test]
fn a03_parallel_sign_ins_share_nothing() {
    let mut world = World::new(Deviation::None);
    let (mut first, mut second) = (world.begin(), world.begin());
    let (one, two) = (world.until_browser(&mut first), world.until_browser(&mut second));
    for field in ["state", "nonce", "code_challenge"] {
        assert_ne!(world::field(&one, field), world::field(&two, field), "{field}");
    }
    // Another app that steals the redirect has a code without the verifier: the provider refuses it.
    let stolen = world.log_in(&one);
    let state = world::field(&two, "state");
    let crossed = format!(
        "http://127.0.0.1:7777/back?code={}&state={state}&iss=https://id.example",
        world::field(&stolen, "code")
    );
    let (now, mut random) = (world.now(), world.random());
    second.handle_redirect(&crossed, now, &mut random).unwrap();
    let outcome = world.finish(&mut second);
    assert!(matches!(outcome, Err(SignInError::Provider(ProviderError::CodeRefused(_)))), "{outcome:?}");
}

#[test]
fn a_sign_in_is_over_after_ten_minutes() {
    let mut world = World::new(Deviation::None);
    let mut sign_in = world.begin();
    world.until_browser(&mut sign_in);
    let deadline = sign_in.next_wake().unwrap();
    sign_in.handle_time(deadline - ztna_model::secs(1));
    assert!(sign_in.poll().is_none());
    sign_in.handle_time(deadline);
    assert!(matches!(world.finish(&mut sign_in), Err(SignInError::TooLate)));
    assert_eq!(sign_in.next_wake(), None);
}
