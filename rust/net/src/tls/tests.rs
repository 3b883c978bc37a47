//! Real handshakes over loopback, with every certificate made for the occasion.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PublicKeyData as _, SanType, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::version::TLS12;
use rustls::{CertificateError, ClientConfig, Error, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use ztna_model::{RootHash, Secret, millis, secs};

use super::*;
use crate::clock::Clock;
use crate::tcp;

mod corpus;
mod gateways;
mod pins;
mod slots;

const WITHIN: Duration = secs(10);
const DAY: Duration = secs(24 * 3600);

/// A certificate authority of one test's own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn root(name: &str) -> Self {
        Self::root_with(name, |_| ())
    }

    fn root_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        Self(CertifiedIssuer::self_signed(ca(name, change), KeyPair::generate().unwrap()).unwrap())
    }

    fn below(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::signed_by(ca(name, |_| ()), key, &self.0).unwrap())
    }

    fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn pin(&self) -> RootHash {
        root_hash(&self.0.key().subject_public_key_info())
    }

    /// A certificate and its key, with `chain` behind it.
    fn identity(&self, leaf: CertificateParams, chain: &[&Self]) -> Identity {
        let (certificate, key) = self.leaf(leaf);
        let chain = chain.iter().map(|authority| authority.der());
        Identity::from_der(std::iter::once(certificate).chain(chain).collect(), &key).unwrap()
    }

    fn leaf(&self, leaf: CertificateParams) -> (CertificateDer<'static>, Secret<Vec<u8>>) {
        let key = KeyPair::generate().unwrap();
        let certificate = leaf.signed_by(&key, &self.0).unwrap();
        (certificate.der().clone(), Secret::new(key.serialize_der()))
    }
}

fn ca(name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    params
}

/// A server's certificate for these names and addresses.
fn server(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// A gateway's certificate with these URIs.
fn gateway(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new([]).unwrap();
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// Lets a certificate run out so long ago.
fn expired_since(mut params: CertificateParams, ago: Duration) -> CertificateParams {
    let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(Clock.wall().as_secs());
    (params.not_before, params.not_after) = (now - ago - DAY, now - ago);
    params
}

fn pinned(pin: RootHash) -> Arc<ClientConfig> {
    client_config(&Trust::Pinned(pin), None, Alpn::Http1).unwrap()
}

fn serving(identity: Identity) -> Arc<ServerConfig> {
    server_config(IdentitySlot::new(identity), Alpn::Http1).unwrap()
}

/// What each side thinks of a connection: what the client saw, and which gateway the server found it to be.
struct Outcome {
    client: Result<Seen, HandshakeError>,
    server: Result<Option<GatewayPeer>, HandshakeError>,
}

#[derive(Debug)]
struct Seen {
    certificates: Vec<CertificateDer<'static>>,
    spoken: Option<Vec<u8>>,
}

impl Outcome {
    fn accepted(self) -> Option<GatewayPeer> {
        self.client.unwrap();
        self.server.unwrap()
    }

    /// Why the client refused the server.
    fn client_refused(self) -> Error {
        assert!(self.server.is_err(), "the server must notice");
        match self.client {
            Err(HandshakeError::Refused(cause)) => cause,
            other => panic!("{other:?}"),
        }
    }

    /// Why the server refused the client.
    fn server_refused(self) -> Error {
        assert!(self.client.is_err(), "the client must notice");
        match self.server {
            Err(HandshakeError::Refused(cause)) => cause,
            other => panic!("{other:?}"),
        }
    }
}

/// Connects over loopback and passes one byte, since a client learns late that its certificate was refused.
async fn connection(client: Arc<ClientConfig>, server: Arc<ServerConfig>, name: &str) -> Outcome {
    let listener = tcp::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let name = name.to_owned().try_into().unwrap();
    let client = async {
        let stream = tcp::dial(address, WITHIN).await.unwrap();
        let mut stream = connect(stream, name, client, WITHIN).await?;
        stream.read_u8().await?;
        let (_, connection) = stream.get_ref();
        let certificates = connection.peer_certificates().unwrap_or_default().to_vec();
        Ok(Seen { certificates, spoken: connection.alpn_protocol().map(<[u8]>::to_vec) })
    };
    let server = async {
        let (stream, _) = tcp::accept(&listener).await;
        let mut stream = accept(stream, server, WITHIN).await?;
        stream.write_u8(1).await?;
        Ok(gateway_peer(&stream).ok())
    };
    let (client, server) = tokio::join!(client, server);
    Outcome { client, server }
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let listener = tcp::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let stream = tcp::dial(listener.local_addr().unwrap(), WITHIN).await.unwrap();
    let name = "acme.example".to_owned().try_into().unwrap();
    let config = pinned(RootHash([0; 32]));
    let outcome = connect(stream, name, config, millis(20)).await;
    assert!(matches!(outcome, Err(HandshakeError::Silent(_))));
}

#[tokio::test]
async fn both_sides_agree_on_what_is_spoken() {
    let root = Authority::root("root");
    let identity = || IdentitySlot::new(root.identity(server(&["acme.example"]), &[&root]));
    for (ours, theirs, spoken) in [
        (Alpn::Http, Alpn::Http, "h2"),
        (Alpn::Http1, Alpn::Http, "http/1.1"),
        (Alpn::Http, Alpn::Http1, "http/1.1"),
        (Alpn::Http1, Alpn::Http1, "http/1.1"),
    ] {
        let client = client_config(&Trust::Pinned(root.pin()), None, ours).unwrap();
        let server = server_config(identity(), theirs).unwrap();
        let seen = connection(client, server, "acme.example").await.client.unwrap();
        assert_eq!(seen.spoken.as_deref(), Some(spoken.as_bytes()));
    }
}

#[test]
fn an_organisation_names_its_server() {
    let check = |org: &str, expected: &str| {
        let name = server_name(&org.parse().unwrap()).unwrap();
        assert_eq!(name.to_str(), expected);
    };
    check("https://acme.example", "acme.example");
    check("https://acme.example:8443", "acme.example");
    check("https://127.0.0.1:4433", "127.0.0.1");
    check("https://[::1]:4433", "::1");
}
