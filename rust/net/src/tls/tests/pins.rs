use std::convert::identity;

use super::*;

#[tokio::test]
async fn a_server_that_proves_the_pinned_root_is_accepted() {
    let root = Authority::root("root");
    let middle = root.below("middle");
    let names = ["acme.example", "127.0.0.1", "::1"];
    let direct = root.identity(server(&names), &[&root]);
    let through = middle.identity(server(&names), &[&middle, &root]);
    for served in [direct, through] {
        for name in names {
            connection(pinned(root.pin()), serving(served.clone()), name).await.accepted();
        }
    }
}

#[tokio::test]
async fn p1_3_f01_a_server_without_the_pinned_root_is_refused() {
    let (root, evil) = (Authority::root("root"), Authority::root("root"));
    let leaf = || server(&["acme.example"]);
    let rows = [
        ("a wrong pin", evil.identity(leaf(), &[&evil])),
        ("the root not sent", root.identity(leaf(), &[])),
        ("another root sent", root.identity(leaf(), &[&evil])),
        ("a leaf that is its own root", Authority::root("leaf").identity(leaf(), &[])),
    ];
    for (what, served) in rows {
        let error = connection(pinned(root.pin()), serving(served), "acme.example").await.client_refused();
        assert_eq!(RootError::behind(&error), Some(RootError::NotSent), "{what}");
        let words = HandshakeError::Refused(error).to_string();
        assert_eq!(words, "TLS: the server sent no root certificate with the pinned key");
    }
}

#[tokio::test]
async fn f01_a_chain_by_another_root_beside_the_pinned_one_is_refused() {
    let (root, evil, other) = (Authority::root("root"), Authority::root("root"), Authority::root("other"));
    for liar in [&evil, &other] {
        for chain in [&[&root][..], &[liar, &root], &[&root, liar]] {
            let served = liar.identity(server(&["acme.example"]), chain);
            let outcome = connection(pinned(root.pin()), serving(served), "acme.example").await;
            let error = outcome.client_refused();
            let expected = [CertificateError::UnknownIssuer, CertificateError::BadSignature];
            assert!(expected.into_iter().any(|reason| error == Error::InvalidCertificate(reason)), "{error}");
        }
    }
}

#[tokio::test]
async fn f01_a_root_certificate_must_be_sound_itself() {
    let check = async |root: &Authority, sent: CertificateDer<'static>, expected: RootError| {
        let (leaf, key) = root.leaf(server(&["acme.example"]));
        let served = Identity::from_der(vec![leaf, sent], &key).unwrap();
        let error = connection(pinned(root.pin()), serving(served), "acme.example").await.client_refused();
        let wrapped = std::io::Error::other(HandshakeError::Refused(error));
        assert_eq!(RootError::behind(&wrapped), Some(expected));
    };
    // Somebody else's certificate around the pinned public key, free of the root's own limits.
    let (root, evil) = (Authority::root("root"), Authority::root("root"));
    let forged = ca("root", |_| ()).signed_by(root.0.key(), &evil.0).unwrap();
    check(&root, forged.der().clone(), RootError::NotSelfSigned).await;
    let leaf = Authority::root_with("root", |params| params.is_ca = IsCa::ExplicitNoCa);
    check(&leaf, leaf.der(), RootError::NotAnAuthority).await;
    let old = Authority::root_with("root", |params| params.not_after = date_time_ymd(2020, 1, 1));
    check(&old, old.der(), RootError::OutOfDate).await;
    let early = Authority::root_with("root", |params| params.not_before = date_time_ymd(4000, 1, 1));
    check(&early, early.der(), RootError::OutOfDate).await;
}

#[tokio::test]
async fn f01_the_certificate_below_the_pinned_root_is_checked_in_full() {
    let root = Authority::root("root");
    let check = async |leaf: CertificateParams, name: &str, expected: fn(&CertificateError) -> bool| {
        let served = root.identity(leaf, &[&root]);
        let error = connection(pinned(root.pin()), serving(served), name).await.client_refused();
        assert!(matches!(&error, Error::InvalidCertificate(reason) if expected(reason)), "{error}");
    };
    let another_name = |e: &CertificateError| matches!(e, CertificateError::NotValidForNameContext { .. });
    let expired = |e: &CertificateError| matches!(e, CertificateError::ExpiredContext { .. });
    let purpose = |e: &CertificateError| matches!(e, CertificateError::InvalidPurposeContext { .. });
    check(server(&["acme.example"]), "evil.example", another_name).await;
    check(server(&["acme.example"]), "a.acme.example", another_name).await;
    check(server(&["acme.example", "127.0.0.2"]), "127.0.0.1", another_name).await;
    check(server(&["127.0.0.1.example"]), "127.0.0.1", another_name).await;
    check(expired_since(server(&["acme.example"]), secs(60)), "acme.example", expired).await;
    // A gateway of the same organisation does not pass for its broker.
    let mut posing = gateway(&["spiffe://acme.example/gateway/a"]);
    posing.subject_alt_names.push(SanType::DnsName("acme.example".try_into().unwrap()));
    check(posing, "acme.example", purpose).await;
}

#[tokio::test]
async fn f01_neither_side_goes_back_to_tls_1_2() {
    let root = Authority::root("root");
    let slot = || IdentitySlot::new(root.identity(server(&["acme.example"]), &[&root]));
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS12]).unwrap();
    let old_server = Arc::new(builder.with_no_client_auth().with_cert_resolver(slot()));
    let outcome = connection(pinned(root.pin()), Arc::clone(&old_server), "acme.example").await;
    assert!(outcome.client.is_err() && outcome.server.is_err());

    // Other people's identity providers may: the same server, asked by such a client, answers.
    let lenient = issuer_config(&Trust::Roots(vec![root.der()])).unwrap();
    connection(Arc::clone(&lenient), old_server, "acme.example").await.accepted();

    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS12]).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.der()).unwrap();
    let old_client = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
    let served = server_config(slot(), Alpn::Http1).unwrap();
    let outcome = connection(old_client, served, "acme.example").await;
    assert!(outcome.client.is_err() && outcome.server.is_err());
}

#[tokio::test]
async fn roots_from_a_bundle_need_not_be_sent() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let dir = crate::testing::TempDir::new();
    let path = dir.path("roots.pem");
    std::fs::write(&path, format!("{}{}", other.0.pem(), root.0.pem())).unwrap();
    let config = client_config(&Trust::from_bundle(&path).unwrap(), None, Alpn::Http1).unwrap();
    let served = serving(root.identity(server(&["acme.example"]), &[]));
    connection(Arc::clone(&config), served, "acme.example").await.accepted();
    let stranger = serving(Authority::root("root").identity(server(&["acme.example"]), &[]));
    connection(config, stranger, "acme.example").await.client_refused();

    std::fs::write(&path, "no certificate").unwrap();
    assert!(matches!(Trust::from_bundle(&path), Err(TrustError::UnreadableBundle { .. })));
    assert!(Trust::from_bundle(&dir.path("none")).is_err());
}

#[tokio::test]
async fn the_platform_does_not_trust_our_root() {
    // A machine without any roots refuses even earlier.
    let Ok(config) = client_config(&Trust::Platform, None, Alpn::Http) else { return };
    let root = Authority::root("root");
    let served = serving(root.identity(server(&["acme.example"]), &[&root]));
    connection(config, served, "acme.example").await.client_refused();
}

#[test]
fn a_root_hash_is_that_of_the_key() {
    let root = Authority::root("root");
    assert_eq!(root_hash_of(&root.der()), Ok(root.pin()));
    assert_eq!(root_hash_of(b"certificate"), Err(RootError::Unreadable));
    // RFC 7469 hashes the SubjectPublicKeyInfo; SHA-256 of nothing is well known.
    let empty = "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(identity(root_hash(b"")).to_string(), empty);
}
