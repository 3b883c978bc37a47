use std::fmt;
use std::str::FromStr;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use ztna_model::{Random, Secret};

/// A password as it is kept: argon2id in PHC form (RFC 9106). It never prints; its `serde` form is for the store.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash(String);

/// Why a password cannot be chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PasswordError {
    /// Too easy to guess.
    #[error("a password has at least {SHORTEST} characters")]
    TooShort,
    /// Too long to be one.
    #[error("a password has at most {LONGEST} bytes")]
    TooLong,
    /// There is no memory to hash it in.
    #[error("the password could not be hashed")]
    NotHashed,
}

/// A text is not an argon2id hash, or asks for more than a sign-in may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("not an argon2id hash in PHC form within {MOST_MEMORY_KIB} KiB and {MOST_PASSES} passes")]
pub struct HashError;

/// Hashes a password that a person or an administrator chose. Length is the only rule: composition rules make
/// passwords worse (NIST SP 800-63B, 3.1.1.2).
pub fn hash_password(
    password: &Secret<String>,
    random: &mut dyn Random,
) -> Result<PasswordHash, PasswordError> {
    let text = password.expose();
    if text.chars().count() < SHORTEST {
        return Err(PasswordError::TooShort);
    }
    if text.len() > LONGEST {
        return Err(PasswordError::TooLong);
    }
    let mut salt = [0; SALT];
    random.fill(&mut salt);
    let hash = argon2().hash_password_with_salt(text.as_bytes(), &salt);
    hash.map(|hash| PasswordHash(hash.to_string())).map_err(|_| PasswordError::NotHashed)
}

impl PasswordHash {
    /// A hash of no password, at the price of a real one: what is checked where there is no account.
    pub fn decoy(random: &mut dyn Random) -> Self {
        let (mut salt, mut output) = ([0; SALT], [0; Params::DEFAULT_OUTPUT_LEN]);
        random.fill(&mut salt);
        random.fill(&mut output);
        let hash =
            phc::Salt::new(&salt).ok().zip(phc::Output::new(&output).ok()).and_then(|(salt, output)| {
                Some(phc::PasswordHash {
                    algorithm: Algorithm::Argon2id.ident(),
                    version: Some(Version::V0x13.into()),
                    params: phc::ParamsString::try_from(&params()).ok()?,
                    salt: Some(salt),
                    hash: Some(output),
                })
            });
        Self(hash.map(|hash| hash.to_string()).unwrap_or_default())
    }

    /// Whether this is the hash of `password`. Takes a tenth of a second and 32 MiB: not for a thread that
    /// serves others.
    pub fn is_of(&self, password: &Secret<String>) -> bool {
        let password = password.expose().as_bytes();
        let hash = phc::PasswordHash::new(&self.0);
        password.len() <= LONGEST && hash.is_ok_and(|hash| argon2().verify_password(password, &hash).is_ok())
    }
}

impl FromStr for PasswordHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let hash = phc::PasswordHash::new(text).map_err(|_| HashError)?;
        let params = Params::try_from(&hash).map_err(|_| HashError)?;
        let fits = hash.algorithm == Algorithm::Argon2id.ident()
            && hash.salt.is_some()
            && hash.hash.is_some()
            && params.m_cost() <= MOST_MEMORY_KIB
            && params.t_cost() <= MOST_PASSES;
        fits.then(|| Self(text.to_owned())).ok_or(HashError)
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = HashError;

    fn try_from(text: String) -> Result<Self, HashError> {
        text.parse()
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        hash.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params())
}

fn params() -> Params {
    // Constants that fit; the crate's own defaults (OWASP's minimum) stand behind them.
    Params::new(MEMORY_KIB, PASSES, LANES, None).unwrap_or_default()
}

/// Memory for one hash. OWASP's minimum is 19 MiB with two passes; this costs a guesser over twice as much and a
/// person about a tenth of a second.
const MEMORY_KIB: u32 = 32 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
const SALT: usize = 16;
/// Hashes brought from elsewhere may cost more than ours, within reason.
const MOST_MEMORY_KIB: u32 = 256 * 1024;
const MOST_PASSES: u32 = 10;
const SHORTEST: usize = 12;
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use ztna_net::random::SystemRandom;

    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_hash_is_of_its_password_alone() {
        let hash = hash_password(&secret("correct horse battery"), &mut SystemRandom::new()).unwrap();
        assert!(hash.is_of(&secret("correct horse battery")));
        for other in ["", "correct horse batterx", "correct horse battery ", "Correct horse battery"] {
            assert!(!hash.is_of(&secret(other)), "{other}");
        }
        let again = hash_password(&secret("correct horse battery"), &mut SystemRandom::new()).unwrap();
        assert_ne!(hash, again, "salted");
    }

    #[test]
    fn lengths_and_nothing_else() {
        let rows = [
            (String::new(), Err(PasswordError::TooShort)),
            ("elevenchars".into(), Err(PasswordError::TooShort)),
            ("twelve chars".into(), Ok(())),
            ("aaaaaaaaaaaa".into(), Ok(())),
            ("äöüäöüäöüäöü".into(), Ok(())),
            ("x".repeat(1024), Ok(())),
            ("x".repeat(1025), Err(PasswordError::TooLong)),
        ];
        for (password, expected) in rows {
            let outcome = hash_password(&Secret::new(password), &mut SystemRandom::new());
            assert_eq!(outcome.map(|_| ()), expected);
        }
    }

    #[test]
    fn a_decoy_costs_what_a_hash_costs_and_fits_no_password() {
        let decoy = PasswordHash::decoy(&mut SystemRandom::new());
        let hash = hash_password(&secret("correct horse battery"), &mut SystemRandom::new()).unwrap();
        let cost =
            |hash: &PasswordHash| hash.0.rsplit_once('$').unwrap().0.rsplit_once('$').unwrap().0.to_owned();
        assert_eq!(cost(&decoy), cost(&hash));
        assert_eq!(cost(&decoy), "$argon2id$v=19$m=32768,t=3,p=1");
        assert_eq!(decoy.0.len(), hash.0.len());
        assert!(!decoy.is_of(&secret("correct horse battery")));
    }

    #[test]
    fn rows_that_are_no_hash_of_ours() {
        let salt_and_hash = "c29tZXNhbHQxMjM0NTY3OA$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI";
        let rows = [
            (format!("$argon2id$v=19$m=19456,t=2,p=1${salt_and_hash}"), true),
            (format!("$argon2id$v=19$m=4194304,t=2,p=1${salt_and_hash}"), false),
            (format!("$argon2id$v=19$m=19456,t=99,p=1${salt_and_hash}"), false),
            (format!("$argon2i$v=19$m=19456,t=2,p=1${salt_and_hash}"), false),
            ("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMjM0NTY3OA".into(), false),
            (String::new(), false),
            ("hunter2".into(), false),
        ];
        for (text, fits) in rows {
            assert_eq!(text.parse::<PasswordHash>().is_ok(), fits, "{text}");
        }
    }
}
