//! Everything that is left to chance, drawn from a seed.

/// A stream of numbers that follows from its seed alone: SplitMix64 (Steele, Lea and Flood, "Fast
/// splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The stream of a seed. `salt` gives each scenario another one.
    pub(crate) fn new(seed: u64, salt: &str) -> Self {
        let salted = salt.bytes().fold(seed, |sum, byte| {
            sum.wrapping_mul(0x100_0000_01B3) ^ u64::from(byte)
        });
        let mut dice = Self(salted);
        // Seeds are neighbours; their streams are not.
        dice.next();
        dice
    }

    /// A stream of its own, for something whose number of draws is not known.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 if there is none.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        // The bias of a remainder is far below anything that matters here.
        usize::try_from(self.next() % (limit.max(1) as u64)).unwrap_or(0)
    }

    /// True so many times in a hundred.
    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// One of them; `None` of nothing.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }

    /// Takes one of them out; `None` of nothing.
    pub(crate) fn take<T>(&mut self, from: &mut Vec<T>) -> Option<T> {
        if from.is_empty() {
            return None;
        }
        Some(from.swap_remove(self.below(from.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_stream_again_and_its_neighbour_another() {
        let draws = |seed, salt| {
            let mut dice = Dice::new(seed, salt);
            (0..50).map(|_| dice.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(draws(7, "walk"), draws(7, "walk"));
        assert_ne!(draws(7, "walk"), draws(8, "walk"));
        assert_ne!(draws(7, "walk"), draws(7, "refresh"));
    }
}
