//! Reproducible random numbers.

use rand_core::{Rng as _, SeedableRng as _};
use rand_pcg::Pcg64;

/// Random number generator whose output depends on its seed only.
#[derive(Debug, Clone)]
pub(crate) struct SeededRng(Pcg64);

impl SeededRng {
    /// Creates the generator of a seed. `salt` separates the sequences of scenarios that share a seed.
    pub(crate) fn new(seed: u64, salt: &str) -> Self {
        let salted = salt
            .bytes()
            .fold(seed, |hash, byte| hash.wrapping_mul(0x100_0000_01B3) ^ u64::from(byte));
        Self(Pcg64::seed_from_u64(salted))
    }

    /// Creates an independent generator for a consumer that draws an unknown number of values.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.0.fork())
    }

    /// Returns a seed for a generator that is not of this type.
    pub(crate) fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a number below `limit`, or 0 if `limit` is 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        // The bias of the remainder is negligible for limits this far below 2^64.
        usize::try_from(self.0.next_u64() % (limit.max(1) as u64)).unwrap_or(0)
    }

    /// Returns true with a probability of `chance` percent.
    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// Returns a random element of a slice that is not empty.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Removes and returns a random element.
    pub(crate) fn take<T>(&mut self, from: &mut Vec<T>) -> Option<T> {
        (!from.is_empty()).then(|| from.swap_remove(self.below(from.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_depends_on_seed_and_salt() {
        let draws = |seed, salt| {
            let mut rng = SeededRng::new(seed, salt);
            (0..50).map(|_| rng.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(draws(7, "walk"), draws(7, "walk"));
        assert_ne!(draws(7, "walk"), draws(8, "walk"));
        assert_ne!(draws(7, "walk"), draws(7, "refresh"));
    }
}
