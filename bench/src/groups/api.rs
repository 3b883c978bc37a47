use ztna_api::dpop::{self, Claims, Expected};
use ztna_api::{key, lease, statement};
use ztna_model::{Epoch, Lease, Signer, WallTime};
use ztna_net::clock::Clock;
use ztna_net::keys::{Ed25519Key, P256Key};

use crate::leases::{Session, Signers};
use crate::measure::{Outcome, measure};
use crate::report::{Report, Unit};
use crate::watch::Watch;

/// What is signed and verified, and how much of that is the signature itself.
pub(crate) fn run(report: &mut Report) -> Outcome {
    report.begin("api: signed forms");
    let course = Course::new()?;
    let laps = measure(|watch| course.lap(watch))?;
    for (what, part, bare) in [
        ("a lease is signed (Ed25519)", "sign lease", "sign Ed25519"),
        ("a lease is verified", "verify lease", "verify Ed25519"),
        ("a statement is signed (P-256)", "sign statement", "sign P-256"),
        ("a statement is verified", "verify statement", "verify P-256"),
        ("a DPoP proof is made (P-256)", "prove", "sign P-256"),
        ("a DPoP proof is verified", "verify proof", "verify P-256"),
    ] {
        report.row(what, Unit::Nanoseconds, laps.of(part)?);
        report.row("  the bare signature's share", Unit::Share, &laps.ratio(bare, part)?);
    }
    Ok(())
}

struct Course {
    signers: Signers,
    session: Session,
    lease: Lease,
    ed25519: Ed25519Key,
    p256: P256Key,
}

impl Course {
    fn new() -> Outcome<Self> {
        let signers = Signers::new()?;
        let session = signers.session(1)?;
        Ok(Self {
            lease: signers.lease(&session, 1, Epoch(1), Clock.now())?,
            signers,
            session,
            ed25519: Ed25519Key::from_pkcs8(&Ed25519Key::generate()?)?,
            p256: P256Key::from_pkcs8(&P256Key::generate()?)?,
        })
    }

    fn lap(&self, watch: &mut Watch) -> Outcome {
        self.bare(watch, &self.ed25519, ["sign Ed25519", "verify Ed25519"])?;
        self.bare(watch, &self.p256, ["sign P-256", "verify P-256"])?;
        self.leases(watch)?;
        self.statements(watch)?;
        self.proofs(watch)
    }

    /// The same number of bytes that a lease comes to.
    fn bare(&self, watch: &mut Watch, signer: &dyn Signer, [sign, verify]: [&'static str; 2]) -> Outcome {
        let message = vec![0x5a; self.signers.sign(&self.lease)?.len()];
        let signature = repeated(watch, sign, || Ok(signer.sign(&message)?))?;
        repeated(watch, verify, || {
            let holds = key::verifies(&signer.public_key(), &message, &signature);
            if holds { Ok(()) } else { Err("a signature does not hold".into()) }
        })
    }

    fn leases(&self, watch: &mut Watch) -> Outcome {
        let text = repeated(watch, "sign lease", || self.signers.sign(&self.lease))?;
        repeated(watch, "verify lease", || Ok(lease::verify(&text, &self.signers.keys)?)).map(drop)
    }

    fn statements(&self, watch: &mut Watch) -> Outcome {
        repeated(watch, "sign statement", || self.signers.session(1))?;
        let (org, jkt) = (&self.signers.org, self.signers.jkt());
        let Session { statement, sid, .. } = &self.session;
        repeated(watch, "verify statement", || Ok(statement::verify(statement, &jkt, org, *sid)?)).map(drop)
    }

    fn proofs(&self, watch: &mut Watch) -> Outcome {
        let (method, uri, token) = ("POST", "https://acme.example/v1/token", "an access token");
        let claims = Claims {
            jti: "0123456789abcdef0123456789abcdef".into(),
            htm: method.into(),
            htu: uri.into(),
            iat: 1_000,
            nonce: Some("0123456789abcdef".into()),
            ath: Some(dpop::token_hash(token)),
        };
        let proof = repeated(watch, "prove", || Ok(dpop::prove(&self.signers.device, &claims)?))?;
        let (access_token, now) = (Some(token), WallTime::from_secs(1_000));
        let expected = Expected { method, uri, access_token, now };
        repeated(watch, "verify proof", || Ok(dpop::verify(&proof, expected)?)).map(drop)
    }
}

/// Does `work` several times, and returns what came of it last.
fn repeated<T>(watch: &mut Watch, part: &'static str, work: impl Fn() -> Outcome<T>) -> Outcome<T> {
    watch.time(part, TIMES, || {
        (1..TIMES).try_for_each(|_| work().map(drop))?;
        work()
    })
}

/// In a lap.
const TIMES: u64 = 8;
