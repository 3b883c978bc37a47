use super::*;

const NAME: &str = "spiffe://acme.example/gateway/berlin-1";

fn peer_error(error: Error) -> Option<PeerError> {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return None };
    other.0.downcast_ref().copied()
}

struct Site {
    root: Authority,
    authority: Authority,
    server: Arc<ServerConfig>,
}

impl Site {
    fn new() -> Self {
        let root = Authority::root("root");
        let authority = root.below("gateways");
        let slot = IdentitySlot::new(root.identity(server(&["acme.example"]), &[&root]));
        let org = "https://acme.example".parse().unwrap();
        let admitted = Admitted { org, authorities: vec![authority.der()] };
        let server = gateway_server_config(slot, admitted, Alpn::Http1).unwrap();
        Self { root, authority, server }
    }

    async fn connect_with(&self, identity: Option<Identity>) -> Outcome {
        let identity = identity.map(IdentitySlot::new);
        let client = client_config(&Trust::Pinned(self.root.pin()), identity, Alpn::Http1).unwrap();
        connection(client, Arc::clone(&self.server), "acme.example").await
    }
}

#[tokio::test]
async fn a_gateway_is_known_by_its_certificate() {
    let site = Site::new();
    let identity = site.authority.identity(gateway(&[NAME]), &[]);
    let not_after = identity.not_after();
    let peer = site.connect_with(Some(identity)).await.accepted().unwrap();
    assert_eq!(peer.name.to_string(), NAME);
    assert_eq!(peer.not_after, not_after);
    assert!(!peer.is_expired(Clock.wall()));
}

#[tokio::test]
async fn p5_12_clients_that_are_no_gateway_of_ours_are_refused() {
    let site = Site::new();
    let error = site.connect_with(None).await.server_refused();
    assert_eq!(error, Error::NoCertificatesPresented);

    let by = |authority: &Authority, uris: &[&str]| Some(authority.identity(gateway(uris), &[]));
    let ours = |uris: &[&str]| by(&site.authority, uris);
    let rows = [
        (ours(&[]), PeerError::NotOneUri),
        (ours(&[NAME, NAME]), PeerError::NotOneUri),
        (ours(&[NAME, "https://acme.example"]), PeerError::NotOneUri),
        (ours(&["spiffe://acme.example/relay/berlin-1"]), PeerError::NotAGateway),
        (ours(&["spiffe://acme.example/gateway/berlin-1/x"]), PeerError::NotAGateway),
        (ours(&["spiffe://acme.example/gateway/BERLIN"]), PeerError::NotAGateway),
        (ours(&["spiffe://evil.example/gateway/berlin-1"]), PeerError::OtherOrganisation),
        (ours(&["spiffe://acme.example:8443/gateway/berlin-1"]), PeerError::OtherOrganisation),
    ];
    for (identity, expected) in rows {
        let error = site.connect_with(identity).await.server_refused();
        assert_eq!(peer_error(error), Some(expected), "{expected}");
    }

    // The right name, but by another authority, by the root itself, or for servers.
    let mut for_servers = gateway(&[NAME]);
    for_servers.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let rows = [
        by(&Authority::root("gateways"), &[NAME]),
        by(&site.root, &[NAME]),
        Some(site.authority.identity(for_servers, &[])),
    ];
    for identity in rows {
        site.connect_with(identity).await.server_refused();
    }
}

#[tokio::test]
async fn p5_12_a_certificate_that_ran_out_lately_can_be_renewed() {
    let site = Site::new();
    let expired = |ago| Some(site.authority.identity(expired_since(gateway(&[NAME]), ago), &[]));
    for (ago, accepted) in [(secs(60), true), (29 * DAY, true), (31 * DAY, false)] {
        let outcome = site.connect_with(expired(ago)).await;
        assert_eq!(outcome.server.is_ok(), accepted, "{ago:?}");
        let peer = outcome.server.ok().flatten();
        assert_eq!(peer.is_some_and(|peer| peer.is_expired(Clock.wall())), accepted, "{ago:?}");
    }
    // Nobody else's certificate gets in that way, nor one whose time has not come.
    let foreign = Authority::root("gateways").identity(expired_since(gateway(&[NAME]), secs(60)), &[]);
    site.connect_with(Some(foreign)).await.server_refused();
    let mut early = gateway(&[NAME]);
    early.not_before = date_time_ymd(4000, 1, 1);
    site.connect_with(Some(site.authority.identity(early, &[]))).await.server_refused();
}

#[tokio::test]
async fn the_peers_key_is_told_for_its_renewal() {
    let site = Site::new();
    let key = KeyPair::generate().unwrap();
    let certificate = gateway(&[NAME]).signed_by(&key, &site.authority.0).unwrap();
    let secret = Secret::new(key.serialize_der());
    let identity = Identity::from_der(vec![certificate.der().clone()], &secret).unwrap();
    let peer = site.connect_with(Some(identity)).await.accepted().unwrap();
    assert_eq!(peer.spki, key.subject_public_key_info());
}

#[test]
fn f01_a_chain_makes_a_gateway_only_under_its_authority_for_its_organisation_and_day() {
    let (authority, rogue) = (Authority::root("gateways"), Authority::root("rogue"));
    let leaf = |by: &Authority, params| by.leaf(params).0.to_vec();
    let good = leaf(&authority, gateway(&["spiffe://acme.example/gateway/berlin-1"]));
    let forged = leaf(&rogue, gateway(&["spiffe://acme.example/gateway/berlin-1"]));
    let nobody = leaf(&authority, gateway(&["spiffe://acme.example/person/ana"]));
    let over = expired_since(gateway(&["spiffe://acme.example/gateway/berlin-1"]), secs(60));
    let over = leaf(&authority, over);
    let (ours, theirs): (ztna_model::OrgId, ztna_model::OrgId) =
        ("https://acme.example".parse().unwrap(), "https://other.example".parse().unwrap());
    let now = Clock.wall();
    let check =
        |chain: &[Vec<u8>], org: &ztna_model::OrgId| check_gateway_chain(chain, &authority.der(), org, now);
    assert_eq!(check(std::slice::from_ref(&good), &ours).unwrap().name.gateway.as_str(), "berlin-1");
    assert!(matches!(check(&[good], &theirs), Err(ChainError::NotAGateway(PeerError::OtherOrganisation))));
    assert!(matches!(check(&[forged], &ours), Err(ChainError::NotIssued(_))));
    assert!(matches!(check(&[over], &ours), Err(ChainError::NotIssued(_))));
    assert!(matches!(check(&[nobody], &ours), Err(ChainError::NotAGateway(PeerError::NotAGateway))));
    assert!(matches!(check(&[], &ours), Err(ChainError::Empty)));
}
