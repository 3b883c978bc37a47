/// Choices that a seed repeats: what is asked in which order, what a random datagram holds. No secret comes from here.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (SplitMix64: Steele, Lea, Flood, 2014).
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    /// As many bytes as asked for.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.next().to_le_bytes()).flatten().take(length).collect()
    }

    /// Another order, each as likely as any other (Fisher–Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_everything() {
        let run = |seed| {
            let mut dice = Dice::new(seed);
            let mut order: Vec<u8> = (0..100).collect();
            dice.shuffle(&mut order);
            (order, dice.bytes(9))
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let (mut order, bytes) = run(7);
        order.sort_unstable();
        assert_eq!((order, bytes.len()), ((0..100).collect(), 9));
    }
}
