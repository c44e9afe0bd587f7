//! Everything that is left to chance, drawn from a seed.

/// A stream of numbers that follows from its seed alone: SplitMix64 (Steele, Lea and Flood, "Fast
/// splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        let mut dice = Self(seed);
        // Seeds are neighbours; their streams are not.
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1, evenly.
    #[allow(clippy::cast_precision_loss, reason = "53 bits, which are exact")]
    pub fn even(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// How often something happened that happens so often on average (Poisson). From 30 on by the normal
    /// distribution, which is then as good.
    pub fn happened(&mut self, average: f64) -> u64 {
        if average < 30.0 {
            let limit = (-average).exp();
            let (mut count, mut product) = (0, self.even());
            while product > limit {
                count += 1;
                product *= self.even();
            }
            return count;
        }
        whole(average + average.sqrt() * self.normal())
    }

    /// The fraction rounded up as often as it says.
    pub fn rounded(&mut self, number: f64) -> u64 {
        whole(number.floor()) + u64::from(self.even() < number.fract())
    }

    /// Mean 0, deviation 1 (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.even()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.even()).cos()
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count: rounded, and not below zero"
)]
pub(crate) fn whole(number: f64) -> u64 {
    number.round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_the_average_and_the_spread_that_they_should() {
        for average in [0.001, 0.5, 7.0, 29.0, 31.0, 900.0] {
            let mut dice = Dice::new(5);
            let draws = 40_000;
            let (mut sum, mut squares) = (0.0, 0.0);
            for _ in 0..draws {
                #[allow(clippy::cast_precision_loss, reason = "small counts")]
                let count = dice.happened(average) as f64;
                sum += count;
                squares += count * count;
            }
            let mean = sum / f64::from(draws);
            let variance = squares / f64::from(draws) - mean * mean;
            assert!((mean / average - 1.0).abs() < 0.2, "{average}: {mean}");
            assert!(
                (variance / average - 1.0).abs() < 0.2,
                "{average}: {variance}"
            );
        }
    }

    #[test]
    fn a_fraction_is_rounded_so_that_its_average_stays() {
        let mut dice = Dice::new(1);
        let sum: u64 = (0..100_000).map(|_| dice.rounded(2.3)).sum();
        assert!((228_000..232_000).contains(&sum), "{sum}");
    }
}
