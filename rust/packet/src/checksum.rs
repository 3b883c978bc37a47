/// A ones' complement sum in the making, from which the Internet checksum is taken (RFC 1071).
///
/// Sums are independent of the order of bytes in memory, so words are added as they lie there and turned round
/// once, at the end.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// The sum of `bytes`, an odd last one counting as the upper half of a word.
    #[inline]
    pub fn of(bytes: &[u8]) -> Self {
        let (blocks, rest) = bytes.as_chunks::<32>();
        let (words, rest) = rest.as_chunks::<4>();
        let words = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum::<u64>();
        Self(sum_of_blocks(blocks) + words + u64::from(last_word(rest)))
    }

    /// The sum of one number of 16 bits.
    #[inline]
    pub const fn of_word(word: u16) -> Self {
        Self(word.to_be() as u64)
    }

    /// What a checksum must gain when `old` is replaced by `new` in the data that it covers (RFC 1624).
    #[inline]
    pub fn of_change(old: &[u8], new: &[u8]) -> Self {
        Self::of(new).plus(Self(u64::from(!Self::of(old).folded())))
    }

    /// Both sums together.
    #[inline]
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The sum of the same bytes if they began at an odd offset.
    #[inline]
    #[must_use]
    pub const fn at_odd_offset(self) -> Self {
        Self(self.folded().swap_bytes() as u64)
    }

    /// The checksum of what was summed: the complement of the sum.
    #[inline]
    pub const fn checksum(self) -> u16 {
        !self.value()
    }

    /// The sum itself, which is all ones if the data holds its own correct checksum.
    #[inline]
    pub const fn value(self) -> u16 {
        u16::from_be(self.folded())
    }

    /// `checksum` after the data that it covers has changed by `self` (RFC 1624, equation 3).
    #[inline]
    pub const fn applied_to(self, checksum: u16) -> u16 {
        Self::of_word(!checksum).plus(self).checksum()
    }

    #[inline]
    const fn folded(self) -> u16 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        sum as u16
    }
}

/// The Internet checksum of `bytes`.
#[inline]
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum::of(bytes).checksum()
}

/// Four sums side by side: each is an addition and an addition with carry, and none waits for another.
#[inline]
fn sum_of_blocks(blocks: &[[u8; 32]]) -> u64 {
    let mut sums = [0_u128; 4];
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum += u128::from(u64::from_ne_bytes(*word));
        }
    }
    let sum: u128 = sums.iter().sum();
    let halves = [sum as u64, (sum >> 64) as u64];
    halves.iter().map(|half| (half & 0xffff_ffff) + (half >> 32)).sum()
}

#[inline]
fn last_word(rest: &[u8]) -> u32 {
    match *rest {
        [a] => u32::from_ne_bytes([a, 0, 0, 0]),
        [a, b] => u32::from_ne_bytes([a, b, 0, 0]),
        [a, b, c] => u32::from_ne_bytes([a, b, c, 0]),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 as it is written: word by word, carries folded at once.
    fn plain(bytes: &[u8]) -> u16 {
        let words = bytes.chunks(2).map(|word| u16::from_be_bytes([word[0], *word.get(1).unwrap_or(&0)]));
        words.fold(0, |sum: u16, word| {
            let (sum, carry) = sum.overflowing_add(word);
            sum + u16::from(carry)
        })
    }

    #[test]
    fn known_sums() {
        let rows: [(&[u8], u16); 6] = [
            (&[], 0),
            (&[1], 0x0100),
            (&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7], 0xddf2), // the example of RFC 1071, section 3
            (&[0xff; 64], 0xffff),
            (&[0; 100], 0),
            (&[0xff, 0xff, 0, 1], 1),
        ];
        for (bytes, expected) in rows {
            assert_eq!(Sum::of(bytes).value(), expected, "{bytes:?}");
            assert_eq!(checksum(bytes), !expected, "{bytes:?}");
        }
        assert_eq!(Sum::of(&[0xff; 65_535]).value(), plain(&[0xff; 65_535]));
    }

    proptest! {
        #[test]
        fn the_fast_sum_is_the_plain_one(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            prop_assert_eq!(Sum::of(&bytes).value(), plain(&bytes));
        }

        #[test]
        fn sums_of_parts_make_the_sum_of_the_whole(
            bytes in prop::collection::vec(any::<u8>(), 1..200), cut in 0_usize..200,
        ) {
            let (left, right) = bytes.split_at(cut % bytes.len());
            let odd = left.len() % 2 == 1;
            let right = if odd { Sum::of(right).at_odd_offset() } else { Sum::of(right) };
            prop_assert_eq!(Sum::of(left).plus(right).value(), plain(&bytes));
        }

        #[test]
        fn an_update_is_as_good_as_a_new_sum(
            bytes in prop::collection::vec(any::<u8>(), 4..100), at in 0_usize..98, new: [u8; 2],
        ) {
            let at = (at % (bytes.len() - 2)) & !1;
            let check = checksum(&bytes);
            let mut changed = bytes.clone();
            changed[at..at + 2].copy_from_slice(&new);
            let updated = Sum::of_change(&bytes[at..at + 2], &new).applied_to(check);
            prop_assert_eq!(Sum::of(&changed).plus(Sum::of_word(updated)).value(), 0xffff);
        }
    }
}
