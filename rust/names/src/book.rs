use std::collections::BTreeMap;
use std::net::IpAddr;

use ring::hmac;
use thiserror::Error;
use ztna_model::{DomainName, Secret, Synthetic};

/// Which name stands behind which synthetic address, for one organisation on one device.
///
/// A name's number is drawn from the organisation's secret, so that it means nothing to others; a name that finds its
/// number taken takes the next free one. Numbers therefore depend on the names that came before: keep
/// [`Book::entries`] and hand them to [`Book::restore`], and every name keeps its address over restarts.
#[derive(Debug)]
pub struct Book {
    secret: Secret<[u8; 32]>,
    numbers: BTreeMap<DomainName, u16>,
    names: BTreeMap<u16, DomainName>,
}

/// The book holds as many names as it may ([`Book::MOST_NAMES`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("there are too many names")]
pub struct BookFull;

/// Why kept entries do not make a book.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum EntryError {
    /// A number that is never handed out.
    #[error("`{name}` has the reserved number {number}")]
    Reserved {
        /// The name.
        name: DomainName,
        /// Its number.
        number: u16,
    },
    /// Two names with one number.
    #[error("`{name}` has the number {number} of another name")]
    NumberTwice {
        /// The later name.
        name: DomainName,
        /// Their number.
        number: u16,
    },
    /// One name with two numbers.
    #[error("`{name}` stands there twice")]
    NameTwice {
        /// The name.
        name: DomainName,
    },
    /// More names than a book may hold.
    #[error(transparent)]
    Full(#[from] BookFull),
}

impl Book {
    /// How many names a book may hold: so few of the numbers that a free one is never far.
    pub const MOST_NAMES: usize = 4_096;

    /// An empty book. The secret is kept for the organisation and never leaves the device.
    pub const fn new(secret: Secret<[u8; 32]>) -> Self {
        Self { secret, numbers: BTreeMap::new(), names: BTreeMap::new() }
    }

    /// The book that `entries` were kept from.
    pub fn restore(
        secret: Secret<[u8; 32]>,
        entries: impl IntoIterator<Item = (DomainName, u16)>,
    ) -> Result<Self, EntryError> {
        let mut book = Self::new(secret);
        for (name, number) in entries {
            book.check(&name, number)?;
            book.enter(name, number);
        }
        Ok(book)
    }

    /// The address that stands in for `name`: the one that it has, or a new one.
    pub fn address(&mut self, name: &DomainName) -> Result<Synthetic, BookFull> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(Synthetic::from_index(*number));
        }
        let number = self.free_number(name).ok_or(BookFull)?;
        self.enter(name.clone(), number);
        Ok(Synthetic::from_index(number))
    }

    /// The name that `address`, of either family, stands in for.
    pub fn name_of(&self, address: IpAddr) -> Option<&DomainName> {
        let number = match address {
            IpAddr::V4(v4) => v4.to_bits() as u16,
            IpAddr::V6(v6) => v6.to_bits() as u16,
        };
        self.names.get(&number).filter(|_| Synthetic::from_index(number).has(address))
    }

    /// Takes a name's address away, and says whether it had one. The address may go to another name.
    pub fn forget(&mut self, name: &DomainName) -> bool {
        let Some(number) = self.numbers.remove(name) else { return false };
        self.names.remove(&number);
        true
    }

    /// Every name and its number, sorted by name: what to keep.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&DomainName, u16)> {
        self.numbers.iter().map(|(name, number)| (name, *number))
    }

    /// The first free number from the name's own on, if another name fits.
    fn free_number(&self, name: &DomainName) -> Option<u16> {
        if self.numbers.len() >= Self::MOST_NAMES {
            return None;
        }
        let own = self.own_number(name);
        (0..=u16::MAX).map(|step| own.wrapping_add(step)).find(|number| self.is_free(*number))
    }

    /// The number that the secret gives to the name.
    fn own_number(&self, name: &DomainName) -> u16 {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.expose());
        let tag = hmac::sign(&key, name.as_str().as_bytes());
        tag.as_ref().first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes))
    }

    fn is_free(&self, number: u16) -> bool {
        !is_reserved(number) && !self.names.contains_key(&number)
    }

    fn check(&self, name: &DomainName, number: u16) -> Result<(), EntryError> {
        if self.numbers.len() >= Self::MOST_NAMES {
            return Err(BookFull.into());
        }
        if is_reserved(number) {
            return Err(EntryError::Reserved { name: name.clone(), number });
        }
        if self.numbers.contains_key(name) {
            return Err(EntryError::NameTwice { name: name.clone() });
        }
        if self.names.contains_key(&number) {
            return Err(EntryError::NumberTwice { name: name.clone(), number });
        }
        Ok(())
    }

    // INVARIANT: both maps say the same.
    fn enter(&mut self, name: DomainName, number: u16) {
        self.names.insert(number, name.clone());
        self.numbers.insert(name, number);
    }
}

/// The first and the last number look like a network's own address and its broadcast address.
const fn is_reserved(number: u16) -> bool {
    matches!(number, 0 | u16::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// HMAC-SHA256 under 32 bytes of 7, worked out with another implementation. `n130.demo` and `n610.demo` have one
    /// number; those of `n32660.demo` and `n13233.demo` are the reserved ones.
    #[test]
    fn numbers() {
        let rows: [(&[&str], u16); 7] = [
            (&["wiki.demo"], 0x9dba),
            (&["payroll.demo"], 0x3b69),
            (&["a.b.example"], 0xff04),
            (&["n130.demo", "n610.demo"], 0x3fc4),
            (&["n610.demo", "n130.demo"], 0x3fc4),
            (&["n32660.demo"], 1),
            (&["n13233.demo"], 1),
        ];
        for (texts, expected) in rows {
            let mut book = book();
            let found = texts.iter().map(|text| book.address(&name(text)).unwrap()).last();
            assert_eq!(found, Some(Synthetic::from_index(expected)), "{texts:?}");
        }
    }

    #[test]
    fn p6_2_another_secret_gives_other_numbers() {
        let mut other = Book::new(Secret::new([8; 32]));
        assert_ne!(other.address(&name("wiki.demo")), book().address(&name("wiki.demo")));
    }

    #[test]
    fn only_addresses_handed_out_have_a_name() {
        let mut book = book();
        book.address(&name("wiki.demo")).unwrap();
        let rows = [
            ("198.18.157.186", Some("wiki.demo")),
            ("2001:2:0:1::9dba", Some("wiki.demo")),
            ("198.18.157.187", None),
            ("198.19.157.186", None),
            ("10.0.157.186", None),
            ("2001:2::9dba", None),
            ("2001:2:0:1::1:9dba", None),
            ("::ffff:198.18.157.186", None),
        ];
        for (address, expected) in rows {
            let found = book.name_of(address.parse().unwrap());
            assert_eq!(found.map(DomainName::as_str), expected, "{address}");
        }
    }

    #[test]
    fn a_forgotten_name_has_no_address() {
        let mut book = book();
        let (wiki, first) = (name("wiki.demo"), book.address(&name("n130.demo")).unwrap());
        let second = book.address(&name("n610.demo")).unwrap();
        assert!(!book.forget(&wiki));
        assert!(book.forget(&name("n130.demo")) && !book.forget(&name("n130.demo")));
        assert_eq!(book.name_of(first.v4.into()), None);
        assert_eq!(book.address(&name("n610.demo")), Ok(second), "a name keeps its address");
        assert_eq!(book.entries().len(), 1);
    }

    #[test]
    fn a_full_book_still_knows_its_names() {
        let mut book = book();
        let names: Vec<_> = (0..Book::MOST_NAMES).map(|i| name(&format!("n{i}.demo"))).collect();
        let addresses: BTreeSet<_> = names.iter().map(|name| book.address(name).unwrap()).collect();
        assert_eq!(addresses.len(), Book::MOST_NAMES);
        assert_eq!(book.address(&name("one.more")), Err(BookFull));
        assert!(names.iter().all(|name| book.address(name).is_ok()));
        book.forget(&names[7]);
        assert!(book.address(&name("one.more")).is_ok());
    }

    #[test]
    fn kept_entries_are_checked() {
        let entry = |text: &str, number| (name(text), number);
        let many: Vec<_> = (1..=4_097).map(|number| (name(&format!("n{number}.demo")), number)).collect();
        let rows = [
            (vec![], None),
            (vec![entry("a.demo", 1), entry("b.demo", 0xfffe)], None),
            (vec![entry("a.demo", 0)], Some(EntryError::Reserved { name: name("a.demo"), number: 0 })),
            (
                vec![entry("a.demo", u16::MAX)],
                Some(EntryError::Reserved { name: name("a.demo"), number: u16::MAX }),
            ),
            (
                vec![entry("a.demo", 1), entry("b.demo", 1)],
                Some(EntryError::NumberTwice { name: name("b.demo"), number: 1 }),
            ),
            (
                vec![entry("a.demo", 1), entry("a.demo", 2)],
                Some(EntryError::NameTwice { name: name("a.demo") }),
            ),
            (many[..4_096].to_vec(), None),
            (many, Some(EntryError::Full(BookFull))),
        ];
        for (entries, expected) in rows {
            assert_eq!(Book::restore(Secret::new([7; 32]), entries).err(), expected);
        }
    }

    #[test]
    fn g03_a_book_does_not_print_its_secret() {
        let secret = Secret::new(*b"a secret that nobody should see!");
        let printed = format!("{:?}", Book::new(secret));
        assert!(!printed.contains("nobody") && !printed.contains("110, 111"), "{printed}");
    }

    proptest! {
        /// Names come and go, the book is kept and restored, and through it all every name has one address of its own.
        #[test]
        fn p6_2_every_name_has_one_address_of_its_own(
            secret: [u8; 32],
            steps in prop::collection::vec((0_u8..4, 0_u16..50), 1..200),
        ) {
            let mut book = Book::new(Secret::new(secret));
            let mut expected = BTreeMap::new();
            for (step, number) in steps {
                let name = name(&format!("n{number}.demo"));
                match step {
                    0 => prop_assert_eq!(book.forget(&name), expected.remove(&name).is_some()),
                    1 => book = kept(&book, secret),
                    _ => {
                        let address = book.address(&name).unwrap();
                        prop_assert!(address.is_sound());
                        prop_assert_eq!(*expected.entry(name).or_insert(address), address);
                    }
                }
                check(&book, &expected);
            }
        }
    }

    fn check(book: &Book, expected: &BTreeMap<DomainName, Synthetic>) {
        let distinct: BTreeSet<_> = expected.values().collect();
        assert_eq!(distinct.len(), expected.len());
        assert_eq!(book.entries().len(), expected.len());
        for (name, address) in expected {
            assert_eq!(book.name_of(address.v4.into()), Some(name));
            assert_eq!(book.name_of(address.v6.into()), Some(name));
        }
    }

    fn kept(book: &Book, secret: [u8; 32]) -> Book {
        let entries: Vec<_> = book.entries().map(|(name, number)| (name.clone(), number)).collect();
        Book::restore(Secret::new(secret), entries).unwrap()
    }

    fn book() -> Book {
        Book::new(Secret::new([7; 32]))
    }

    fn name(text: &str) -> DomainName {
        text.parse().unwrap()
    }
}
