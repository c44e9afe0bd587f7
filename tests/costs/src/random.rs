//! Distributions drawn from a seeded generator.

use rand_core::Rng as _;
pub(crate) use rand_core::SeedableRng;

use crate::number::round;

pub(crate) type Generator = rand_pcg::Pcg64Mcg;

/// A number from 0 to below 1.
#[allow(clippy::cast_precision_loss, reason = "53 bits are exact")]
pub(crate) fn uniform(rng: &mut Generator) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A Poisson-distributed count. From a mean of 30 on, the normal distribution approximates it.
pub(crate) fn poisson(rng: &mut Generator, mean: f64) -> u64 {
    if mean < 30.0 {
        let limit = (-mean).exp();
        let (mut count, mut product) = (0, uniform(rng));
        while product > limit {
            count += 1;
            product *= uniform(rng);
        }
        return count;
    }
    // Box and Muller's transform.
    let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
    let normal = radius * (std::f64::consts::TAU * uniform(rng)).cos();
    round(mean + mean.sqrt() * normal)
}

/// Rounds up with the probability of the fraction, so that the mean is kept.
pub(crate) fn round_randomly(rng: &mut Generator, number: f64) -> u64 {
    round(number.floor()) + u64::from(uniform(rng) < number.fract())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::to_f64;

    #[test]
    fn poisson_has_expected_mean_and_variance() {
        for expected in [0.001, 0.5, 7.0, 29.0, 31.0, 900.0] {
            let mut rng = Generator::seed_from_u64(5);
            let counts: Vec<f64> =
                (0..40_000).map(|_| to_f64(poisson(&mut rng, expected))).collect();
            let mean = counts.iter().sum::<f64>() / 40_000.0;
            let squares = counts.iter().map(|count| count * count).sum::<f64>();
            let variance = squares / 40_000.0 - mean * mean;
            assert!((mean / expected - 1.0).abs() < 0.2, "{expected}: {mean}");
            assert!((variance / expected - 1.0).abs() < 0.2, "{expected}: {variance}");
        }
    }

    #[test]
    fn random_rounding_keeps_the_mean() {
        let mut rng = Generator::seed_from_u64(1);
        let sum: u64 = (0..100_000).map(|_| round_randomly(&mut rng, 2.3)).sum();
        assert!((228_000..232_000).contains(&sum), "{sum}");
    }
}
