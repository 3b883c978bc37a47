use serde::{Deserialize, Serialize};
use thiserror::Error;
use ztna_api::key::sha256_list;
use ztna_model::OrgId;

/// The chain of one writer in one organisation: each row's hash covers all rows before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chain {
    head: Head,
}

/// The end of a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Head {
    /// How many rows it has.
    pub length: u64,
    /// The hash of the last.
    pub hash: [u8; 32],
}

/// A row in its place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sealed {
    /// Its number, from 1 without gaps.
    pub number: u64,
    /// The record, as [`Record::document`](super::Record::document) wrote it.
    pub record: String,
    /// Its hash.
    pub hash: [u8; 32],
}

/// Where a chain does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Broken {
    /// A row is missing, or stands where another belongs.
    #[error("row {expected} is missing: row {found} stands in its place")]
    Gap {
        /// The row that belongs here.
        expected: u64,
        /// The row that is here.
        found: u64,
    },
    /// A row is not what it was when it was written, or what came before it is not.
    #[error("row {number} was changed after it was written")]
    Changed {
        /// The row.
        number: u64,
    },
}

impl Chain {
    /// The empty chain of `writer` in `org`.
    pub fn new(org: &OrgId, writer: &str) -> Self {
        let hash = sha256_list(&[b"openztna/audit/1", org.as_str().as_bytes(), writer.as_bytes()]);
        Self { head: Head { length: 0, hash } }
    }

    /// The chain that goes on from `head`.
    pub const fn from_head(head: Head) -> Self {
        Self { head }
    }

    /// Its end.
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Gives `record` its place at the end.
    pub fn push(&mut self, record: String) -> Sealed {
        let number = self.head.length.saturating_add(1);
        let hash = hash(&self.head.hash, number, &record);
        self.head = Head { length: number, hash };
        Sealed { number, record, hash }
    }

    /// Follows `rows` from here and names the first that does not hold. An earlier head is thus a witness: it
    /// fails where history before it was written anew.
    pub fn verify<'a>(mut self, rows: impl IntoIterator<Item = &'a Sealed>) -> Result<Head, Broken> {
        for row in rows {
            let expected = self.head.length.saturating_add(1);
            if row.number != expected {
                return Err(Broken::Gap { expected, found: row.number });
            }
            if hash(&self.head.hash, row.number, &row.record) != row.hash {
                return Err(Broken::Changed { number: row.number });
            }
            self.head = Head { length: row.number, hash: row.hash };
        }
        Ok(self.head)
    }
}

fn hash(previous: &[u8; 32], number: u64, record: &str) -> [u8; 32] {
    sha256_list(&[previous, &number.to_be_bytes(), record.as_bytes()])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ztna_model::{Random, WallTime};

    use super::*;
    use crate::audit::{By, Draft, Entry, Event, Personal, Record};

    fn chain() -> Chain {
        Chain::new(&"https://acme.example".parse().unwrap(), "broker-1")
    }

    fn rows(n: u64) -> Vec<Sealed> {
        let mut chain = chain();
        let record = |n| Record {
            at: WallTime::from_secs(n),
            by: By::Broker,
            event: Event::Administered { op: "status".into(), about: None },
        };
        (0..n).map(|n| chain.push(record(n).document())).collect()
    }

    #[test]
    fn h05_p8_an_edit_or_a_gap_is_found_and_the_row_is_named() {
        let good = rows(5);
        assert_eq!(chain().verify(&good).unwrap().length, 5);
        let mut edited = good.clone();
        edited[2].record = edited[2].record.replace("status", "statuS");
        assert_eq!(chain().verify(&edited), Err(Broken::Changed { number: 3 }));
        let mut rehashed = edited.clone();
        rehashed[2].hash = hash(&good[1].hash, 3, &rehashed[2].record);
        assert_eq!(chain().verify(&rehashed), Err(Broken::Changed { number: 4 }));
        let mut missing = good.clone();
        missing.remove(1);
        assert_eq!(chain().verify(&missing), Err(Broken::Gap { expected: 2, found: 3 }));
        let other = Chain::new(&"https://other.example".parse().unwrap(), "broker-1");
        assert_eq!(other.verify(&good), Err(Broken::Changed { number: 1 }));
    }

    proptest! {
        #[test]
        fn p8_every_byte_counts(row in 0_usize..5, byte in any::<proptest::sample::Index>(), bit in 0..7_u8) {
            let mut edited = rows(5);
            let mut bytes = edited[row].record.clone().into_bytes();
            let at = byte.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assume!(std::str::from_utf8(&bytes).is_ok());
            edited[row].record = String::from_utf8(bytes).unwrap();
            prop_assert_eq!(chain().verify(&edited), Err(Broken::Changed { number: row as u64 + 1 }));
        }
    }

    #[test]
    fn p8_erasing_personal_text_leaves_the_chain_whole() {
        struct Counter(u8);
        impl Random for Counter {
            fn fill(&mut self, bytes: &mut [u8]) {
                self.0 += 1;
                bytes.fill(self.0);
            }
        }
        let mut counter = Counter(0);
        let mut draft = Draft::new(&mut counter);
        let subject = Some(draft.commit("ana@acme.example"));
        let event = Event::SignInRefused { why: "not invited".into(), subject };
        let Entry { record, personal } = draft.entry(WallTime::EPOCH, By::Unknown, event);
        assert_eq!(personal.first().map(Personal::commitment), subject);
        assert!(!record.document().contains("ana"));
        let mut chain = chain();
        let start = chain.clone();
        let row = chain.push(record.document());
        drop(personal); // the record alone is what the chain is taken over
        assert_eq!(start.verify([&row]), Ok(chain.head()));
    }
}
