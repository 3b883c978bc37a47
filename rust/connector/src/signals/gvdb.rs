//! Reads one value from a GVDB file, the form of dconf's databases: a header, then a table of items, each
//! with a part of its key, the item that holds the part before it, and where its value lies. All numbers are
//! little-endian, and none is believed: what points outside the file is not there.

/// Whether this is such a file at all.
pub(super) fn is_database(file: &[u8]) -> bool {
    Items::of(file).is_some()
}

/// The value of `/a/key/like/this` as it was serialised: its bytes, a zero, and the type's letter.
pub(super) fn value<'a>(file: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let items = Items::of(file)?;
    let found = items.all().find(|item| item.is_value() && items.key_is(*item, key.as_bytes(), 0))?;
    found.value()
}

/// A boolean, if that is what it is.
pub(super) fn flag(value: &[u8]) -> Option<bool> {
    match value {
        [flag, 0, b'b'] => Some(*flag != 0),
        _ => None,
    }
}

/// An unsigned number of 32 bits, if that is what it is.
pub(super) fn number(value: &[u8]) -> Option<u32> {
    match value {
        [a, b, c, d, 0, b'u'] => Some(u32::from_le_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}

/// The table of items in a file.
#[derive(Clone, Copy)]
struct Items<'a> {
    file: &'a [u8],
    table: &'a [u8],
}

impl<'a> Items<'a> {
    fn of(file: &'a [u8]) -> Option<Self> {
        let root = file.strip_prefix(SIGNATURE).and_then(|rest| rest.get(8..))?;
        let table = part(file, u32_at(root, 0)?, u32_at(root, 4)?)?;
        let bloom_words = u32_at(table, 0)? & 0x07ff_ffff; // the upper bits are a shift
        let buckets = u32_at(table, 4)?;
        let words = usize::try_from(u64::from(bloom_words) + u64::from(buckets)).ok()?;
        Some(Self { file, table: table.get(words.checked_mul(4)?.checked_add(8)?..)? })
    }

    fn all(self) -> impl Iterator<Item = Item<'a>> {
        self.table.chunks_exact(ITEM).map(move |bytes| Item { file: self.file, bytes })
    }

    fn get(self, index: u32) -> Option<Item<'a>> {
        let start = usize::try_from(index).ok()?.checked_mul(ITEM)?;
        let bytes = self.table.get(start..start.checked_add(ITEM)?)?;
        Some(Item { file: self.file, bytes })
    }

    /// Whether the parts from the outermost parent to `item` make up `key`.
    fn key_is(self, item: Item<'a>, key: &[u8], depth: u8) -> bool {
        let Some(before) = item.key().and_then(|last| key.strip_suffix(last)) else { return false };
        match item.parent() {
            Some(NO_PARENT) => before.is_empty(),
            Some(parent) if depth < DEEPEST => {
                self.get(parent).is_some_and(|parent| self.key_is(parent, before, depth + 1))
            }
            Some(_) | None => false,
        }
    }
}

/// Hash, parent, where the key begins and its length, type, a spare byte, where the value begins and ends.
#[derive(Clone, Copy)]
struct Item<'a> {
    file: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Item<'a> {
    fn parent(self) -> Option<u32> {
        u32_at(self.bytes, 4)
    }

    fn key(self) -> Option<&'a [u8]> {
        let start = u32_at(self.bytes, 8)?;
        let length = self.bytes.get(12..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))?;
        part(self.file, start, start.checked_add(length.into())?)
    }

    fn is_value(self) -> bool {
        self.bytes.get(14) == Some(&b'v')
    }

    fn value(self) -> Option<&'a [u8]> {
        part(self.file, u32_at(self.bytes, 16)?, u32_at(self.bytes, 20)?)
    }
}

fn part(file: &[u8], start: u32, end: u32) -> Option<&[u8]> {
    file.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

const SIGNATURE: &[u8] = b"GVariant";
const ITEM: usize = 24;
const NO_PARENT: u32 = u32::MAX;
const DEEPEST: u8 = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOCK: &str = "/org/gnome/desktop/screensaver/lock-enabled";
    const DELAY: &str = "/org/gnome/desktop/session/idle-delay";

    /// Written by dconf 0.40 from three keys.
    fn corpus(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/corpus/connector");
        std::fs::read(format!("{folder}/{name}")).unwrap()
    }

    #[test]
    fn what_dconf_wrote_is_read() {
        let file = corpus("dconf-lock-off.gvdb");
        assert_eq!(value(&file, LOCK).and_then(flag), Some(false));
        assert_eq!(value(&file, DELAY).and_then(number), Some(600));
        assert_eq!(value(&file, DELAY).and_then(flag), None);
        for absent in
            ["", "/", "lock-enabled", "/org/gnome/desktop/screensaver/", "/org/gnome/desktop/lock-enabled"]
        {
            assert_eq!(value(&file, absent), None, "{absent}");
        }
    }

    #[test]
    fn what_is_damaged_is_not_there() {
        for name in
            ["dconf-empty.gvdb", "dconf-truncated.gvdb", "dconf-own-parent.gvdb", "dconf-other-end.gvdb"]
        {
            assert_eq!(value(&corpus(name), LOCK), None, "{name}");
            assert_eq!(is_database(&corpus(name)), name == "dconf-own-parent.gvdb", "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            value(&bytes, LOCK);
            value(&[SIGNATURE, &bytes].concat(), LOCK);
        }

        #[test]
        fn any_damage_is_survived(at in 0..540_usize, byte in any::<u8>(), length in 0..540_usize) {
            let mut file = corpus("dconf-lock-off.gvdb");
            if let Some(place) = file.get_mut(at) {
                *place = byte;
            }
            file.truncate(length);
            value(&file, LOCK).and_then(flag);
        }
    }
}
