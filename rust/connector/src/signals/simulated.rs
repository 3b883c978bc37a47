use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;
use ztna_model::{FactKind, FactValue, Observed, Reading};

use super::{Clocks, Signals};

/// Readings that a person makes up, over the real ones: for demonstrations and tests. Each is marked, on the
/// wire and on every screen, and counts only where the organisation allows it.
///
/// The file is TOML and is read anew at every look, so an edit is seen at the next one:
///
/// ```toml
/// disk_encrypted = false
/// patch_age = 400
/// firewall = { unknown = "The rules could not be read." }
/// ```
///
/// Without the file, the real readings stand. A file that cannot be understood makes *every* reading unknown:
/// a slip of the pen must not turn a made-up failure back into a pass.
#[derive(Clone, Debug)]
pub struct Simulated<S> {
    beneath: S,
    file: PathBuf,
}

impl<S: Signals> Simulated<S> {
    /// What `file` says, over what `beneath` reads.
    pub fn new(beneath: S, file: impl Into<PathBuf>) -> Self {
        Self { beneath, file: file.into() }
    }

    fn made_up(&self) -> Result<BTreeMap<FactKind, Said>, String> {
        match fs::read_to_string(&self.file) {
            Ok(text) => toml::from_str(&text).map_err(|error| error.message().replace('\n', " ")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn reading(&self, kind: FactKind, observed: Observed) -> Reading {
        let source = format!("simulated by {}", self.file.display());
        Reading { kind, observed, source, age_s: 0, simulated: true }
    }
}

impl<S: Signals> Signals for Simulated<S> {
    fn read(&mut self, clocks: Clocks) -> Vec<Reading> {
        let mut made_up = match self.made_up() {
            Ok(made_up) => made_up,
            Err(error) => {
                let why = format!("The simulation could not be understood: {error}.");
                return FactKind::ALL.map(|kind| self.reading(kind, Observed::Unknown(why.clone()))).into();
            }
        };
        let mut readings = self.beneath.read(clocks);
        for reading in &mut readings {
            if let Some(said) = made_up.remove(&reading.kind) {
                *reading = self.reading(reading.kind, said.into());
            }
        }
        readings.extend(made_up.into_iter().map(|(kind, said)| self.reading(kind, said.into())));
        readings
    }
}

/// A value as it is, or anything that a look can find.
#[derive(Deserialize)]
#[serde(untagged, expecting = "neither a value, nor `{ unknown = … }`, nor `{ unsupported = … }`")]
enum Said {
    Plain(FactValue),
    Observed(Observed),
}

impl From<Said> for Observed {
    fn from(said: Said) -> Self {
        match said {
            Said::Plain(value) => Self::Value(value),
            Said::Observed(observed) => observed,
        }
    }
}

#[cfg(test)]
mod tests {
    use FactKind::*;
    use FactValue::{Bool, Number, Text};
    use Observed::{Unknown, Unsupported, Value};

    use super::super::Linux;
    use super::super::tree::{NOW, Tree};
    use super::*;

    const CLOCKS: Clocks = Clocks { device: NOW, broker: Some(NOW) };

    fn simulated(tree: &Tree) -> Simulated<Linux> {
        Simulated::new(Linux::below(tree.path("/"), 1000, None), tree.path("/simulated.toml"))
    }

    fn find(readings: &[Reading], kind: FactKind) -> &Reading {
        readings.iter().find(|reading| reading.kind == kind).unwrap()
    }

    #[test]
    fn what_is_made_up_is_marked_and_lies_over_what_is_real() {
        let text = "disk_encrypted = false\npatch_age = 400\nos_supported = 'debian 9'\n\
            tpm = { unsupported = 'None here.' }\nfirewall = { unknown = 'Hidden.' }\n\
            secure_boot = { value = true }\n";
        let tree = Tree::new().file("/simulated.toml", text).file("/proc/self/status", "TracerPid:\t0\n");
        let readings = simulated(&tree).read(CLOCKS);
        assert!(readings.iter().map(|reading| reading.kind).eq(FactKind::ALL));
        let rows = [
            (DiskEncrypted, Value(Bool(false))),
            (PatchAge, Value(Number(400))),
            (OsSupported, Value(Text("debian 9".to_owned()))),
            (Tpm, Unsupported("None here.".to_owned())),
            (Firewall, Unknown("Hidden.".to_owned())),
            (SecureBoot, Value(Bool(true))),
        ];
        for (kind, expected) in rows {
            let reading = find(&readings, kind);
            assert_eq!((&reading.observed, reading.simulated), (&expected, true), "{kind}");
            assert!(reading.source.starts_with("simulated by "));
        }
        let real = find(&readings, DebuggerAttached);
        assert_eq!((&real.observed, real.simulated), (&Value(Bool(false)), false));
    }

    #[test]
    fn an_edit_is_seen_at_the_next_look() {
        let tree = Tree::new().file("/simulated.toml", "disk_encrypted = true");
        let mut signals = simulated(&tree);
        assert_eq!(find(&signals.read(CLOCKS), DiskEncrypted).observed, Value(Bool(true)));
        let tree = tree.file("/simulated.toml", "disk_encrypted = false");
        assert_eq!(find(&signals.read(CLOCKS), DiskEncrypted).observed, Value(Bool(false)));
        fs::remove_file(tree.path("/simulated.toml")).unwrap();
        assert!(signals.read(CLOCKS).iter().all(|reading| !reading.simulated));
    }

    #[test]
    fn a_broken_simulation_is_unknown_in_every_part() {
        for broken in
            ["disk_encrypted = ", "disk = false", "disk_encrypted = 1.5", "tpm = { maybe = 'x' }", "\u{0}"]
        {
            let tree = Tree::new().file("/simulated.toml", broken);
            for reading in simulated(&tree).read(CLOCKS) {
                assert!(
                    reading.simulated
                        && matches!(&reading.observed, Unknown(why) if why.starts_with("The simulation"))
                );
            }
        }
        let tree = Tree::new().folder("/simulated.toml");
        assert!(simulated(&tree).read(CLOCKS).iter().all(|reading| matches!(reading.observed, Unknown(_))));
    }
}
