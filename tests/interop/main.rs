//! Ours against other people's: each test starts the other side as a real process.

#[cfg(test)]
mod oidc; // an OpenID provider
