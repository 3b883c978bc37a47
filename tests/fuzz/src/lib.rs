//! What must hold for any bytes whatsoever: a target for each parser of what comes from outside.
//!
//! Each target is a plain function. `cargo test` replays the committed corpus through it; `./tests/run fuzz` lets a
//! coverage-guided fuzzer loose on those of [`TARGETS`] for a few seconds each.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a broken promise is a panic: that is what is looked for"
)]

use ztna_model::Random;

mod names;
mod packets;
mod segment;
mod texts;
mod decisions;
#[cfg(feature = "whole")]
mod certificates;
#[cfg(feature = "whole")]
mod files;
#[cfg(feature = "whole")]
mod policies;
#[cfg(feature = "whole")]
mod broker;

/// One parser and what it promises.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Where its corpus lies, below `tests/corpus`.
    pub corpus: &'static [&'static str],
    /// Panics if a promise is broken.
    pub run: fn(&[u8]),
}

/// Parsers of foreign bytes that are quick to build.
pub const TARGETS: &[Target] = &[
    // Packets and datagrams
    Target { name: "packet", corpus: &["packet", "netstack"], run: packets::packet },
    Target { name: "bursts", corpus: &["bursts"], run: packets::bursts },
    Target { name: "netstack", corpus: &["segments", "netstack"], run: packets::netstack },
    Target { name: "datagrams", corpus: &["tunnel"], run: packets::datagrams },
    Target { name: "inside", corpus: &["packet"], run: packets::inside },
    Target { name: "names", corpus: &["names"], run: names::messages },
    // Texts
    Target { name: "proxy", corpus: &["proxy"], run: texts::proxy },
    Target { name: "frames", corpus: &["api/frames"], run: texts::frames },
    Target { name: "signed", corpus: &["api/signed"], run: texts::signed },
    Target { name: "admin", corpus: &["api/admin"], run: texts::admin_lines },
    Target { name: "documents", corpus: &["api/http"], run: texts::documents },
    Target { name: "words", corpus: &["model"], run: texts::words },
    // What is decided upon
    Target { name: "facts", corpus: &["posture"], run: decisions::facts },
    Target { name: "leases", corpus: &["gate"], run: decisions::leases },
];

/// Those whose crates take minutes to build with a sanitizer: their corpus is replayed like any other's, and no fuzzer is
/// let loose on them.
#[cfg(feature = "whole")]
pub const REPLAYED: &[Target] = &[
    // Files
    Target { name: "session", corpus: &["session"], run: files::session_on_disk },
    Target { name: "gateway-settings", corpus: &["gateway/config"], run: files::gateway_settings },
    Target { name: "connector-settings", corpus: &["connector/config"], run: files::connector_settings },
    Target { name: "lease-file", corpus: &["gateway/leases"], run: files::lease_file },
    Target { name: "questions", corpus: &["gateway/questions"], run: files::questions },
    Target { name: "broker-settings", corpus: &["broker/config"], run: files::broker_settings },
    // What is said to a broker
    Target { name: "openid-authorize", corpus: &["broker/authorize"], run: broker::authorize },
    Target { name: "openid-token", corpus: &["broker/token"], run: broker::token },
    Target { name: "openid-cookies", corpus: &["broker/cookie"], run: broker::cookies },
    Target { name: "broker-admin", corpus: &["broker/admin"], run: broker::local_lines },
    Target { name: "broker-log", corpus: &["broker/log"], run: broker::exported_log },
    Target { name: "certificate", corpus: &["net"], run: certificates::certificate },
    // What administrators write
    Target { name: "policy", corpus: &["pdp"], run: policies::policy },
    Target { name: "operations", corpus: &["api/operations", "api/admin"], run: policies::operations },
];

/// Bytes that look random and are the same in every run.
struct Chance(u64);

impl Random for Chance {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            // Numbers by Knuth (MMIX); the upper bits are the better ones.
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = self.0.to_be_bytes()[0];
        }
    }
}
