//! When recordings complete and how large their files are, modelled on office hours around the world. The model is
//! stricter than reality: events arrive when meetings end, while Zoom processes a recording for up to twice its length.

use crate::number::round;
use crate::page::{Page, PageError};
use crate::random::{Generator, uniform};

/// Seconds per hour.
pub(crate) const HOUR: u32 = 3_600;
/// Hours of the month: 30 days from a Monday on, UTC.
pub(crate) const HOURS: u32 = 30 * 24;

/// Time zones: minutes ahead of UTC and share of all meetings.
const ZONES: [(i32, f64); 10] = [
    (-8 * 60, 0.17),
    (-6 * 60, 0.12),
    (-5 * 60, 0.28),
    (-3 * 60, 0.06),
    (0, 0.10),
    (60, 0.13),
    (330, 0.06),
    (480, 0.03),
    (540, 0.03),
    (660, 0.02),
];

/// Percentage of a day's meetings that end in each hour of local time.
const DAY: [f64; 24] = [
    0.1, 0.05, 0.05, 0.05, 0.05, 0.1, 0.4, 1.2, 4.0, 8.5, 11.0, 11.5, 7.5, 8.0, 11.0, 11.0, 10.0,
    6.5, 3.5, 2.0, 1.6, 1.0, 0.6, 0.3,
];

/// Meetings of each day of the week relative to an average weekday, from Monday on.
const WEEK: [f64; 7] = [0.95, 1.05, 1.05, 1.05, 0.90, 0.12, 0.08];

/// Number of account groups.
pub(crate) const GROUPS: usize = 2;
/// All accounts except the largest.
pub(crate) const OTHERS: usize = 0;
pub(crate) const LARGEST: usize = 1;

/// File sizes by size class of the recording.
#[derive(Debug, Clone)]
pub(crate) struct Sizes {
    /// Bytes of the MP4 by class.
    pub(crate) mp4: Vec<u64>,
    /// Bytes of the M4A by class.
    pub(crate) m4a: Vec<u64>,
    /// Bytes of any other file.
    pub(crate) small: u64,
    /// Share of the recordings in this and smaller classes.
    cumulative: Vec<f64>,
}

impl Sizes {
    /// A lognormal distribution with a Pareto tail, truncated at the largest size.
    pub(crate) fn new(page: &Page) -> Result<Self, PageError> {
        const CLASSES: u32 = 48;
        const MB: f64 = 1e6;
        let median = page.assumption("MP4: median, MB")?;
        let spread = page.assumption("MP4: spread (σ of the logarithm)")?;
        let in_tail = page.assumption("MP4: share in the tail")?;
        let exponent = page.assumption("MP4: exponent of the tail")?;
        let largest = page.assumption("MP4: largest, MB")?;
        let audio = page.assumption("M4A: share of the MP4")?;
        let body = |size: f64| normal_below((size / median).ln() / spread);
        let tail_from = bisect(|size| body(size) < 1.0 - in_tail, 1e-3, largest);
        let below = |size: f64| {
            if size >= largest {
                1.0
            } else if size > tail_from {
                1.0 - in_tail * (tail_from / size).powf(exponent)
            } else {
                body(size)
            }
        };
        let smallest: f64 = 1.0;
        let step = (largest / smallest).powf(f64::from(CLASSES).recip());
        let (mut mp4, mut m4a, mut cumulative) = (Vec::new(), Vec::new(), Vec::new());
        for class in 0..CLASSES {
            let upper = smallest * step.powf(f64::from(class + 1));
            let middle = upper / step.sqrt();
            mp4.push(round(middle * MB));
            m4a.push(round(middle * audio * MB));
            cumulative.push(below(upper * 1.000_001));
        }
        Ok(Self { mp4, m4a, small: round(page.assumption("other files, MB")? * MB), cumulative })
    }

    pub(crate) fn classes(&self) -> usize {
        self.mp4.len()
    }

    /// Draws the class of one recording.
    pub(crate) fn draw(&self, rng: &mut Generator) -> usize {
        let at = uniform(rng);
        self.cumulative.partition_point(|cumulative| *cumulative <= at).min(self.classes() - 1)
    }

    /// The mean of a value that depends on the class.
    pub(crate) fn mean(&self, value: impl Fn(usize) -> f64) -> f64 {
        let mut below = 0.0;
        let mut sum = 0.0;
        for (class, cumulative) in self.cumulative.iter().enumerate() {
            sum += (cumulative - below) * value(class);
            below = *cumulative;
        }
        sum
    }
}

/// Expected number of completed recordings over time.
#[derive(Debug, Clone)]
pub(crate) struct Calendar {
    by_hour: Vec<f64>,
    share_on_hour: f64,
    share_on_half_hour: f64,
    decay: f64,
}

impl Calendar {
    pub(crate) fn new(page: &Page, recordings: f64) -> Result<Self, PageError> {
        let mut by_hour: Vec<f64> = (0..HOURS).map(load).collect();
        let sum: f64 = by_hour.iter().sum();
        by_hour.iter_mut().for_each(|hour| *hour *= recordings / sum);
        Ok(Self {
            by_hour,
            share_on_hour: page.assumption("share ending on the hour")?,
            share_on_half_hour: page.assumption("share ending on the half hour")?,
            decay: page.assumption("burst decay time, s")?,
        })
    }

    /// Expected number of recordings in a second of the month.
    pub(crate) fn at(&self, second: u32) -> f64 {
        let hour = self.by_hour.get((second / HOUR) as usize);
        let within = f64::from(second % HOUR);
        let burst = |since: f64| (-since / self.decay).exp() / self.decay;
        let even = (1.0 - self.share_on_hour - self.share_on_half_hour) / f64::from(HOUR);
        let half = within - f64::from(HOUR) / 2.0;
        let shape = even
            + self.share_on_hour * burst(within)
            + if half >= 0.0 { self.share_on_half_hour * burst(half) } else { 0.0 };
        hour.copied().unwrap_or_default() * shape
    }
}

/// Relative load of an hour of the month.
fn load(hour: u32) -> f64 {
    ZONES
        .iter()
        .map(|(ahead, share)| {
            // A zone with a half-hour offset contributes to the UTC hour that contains its full hour.
            let minutes = (i64::from(hour) * 60 + i64::from(*ahead)).rem_euclid(7 * 24 * 60);
            let local = usize::try_from(minutes / 60).unwrap_or_default();
            share * DAY[local % 24] * WEEK[local / 24]
        })
        .sum()
}

/// Cumulative standard normal distribution (Abramowitz and Stegun, 7.1.26; error below 1.5e-7).
fn normal_below(x: f64) -> f64 {
    let z = x.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let series = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let error = 1.0 - series.iter().fold(0.0, |sum, term| (sum + term) * t) * (-z * z).exp();
    if x < 0.0 { (1.0 - error) / 2.0 } else { (1.0 + error) / 2.0 }
}

/// Largest number between the bounds for which the predicate holds.
fn bisect(holds: impl Fn(f64) -> bool, mut low: f64, mut high: f64) -> f64 {
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if holds(middle) { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::number::to_f64;
    use crate::random::SeedableRng as _;

    #[test]
    fn calendar_sums_to_requested_recordings() {
        let calendar = Calendar::new(&Page::of_repository().unwrap(), 1e6).unwrap();
        let sum: f64 = (0..HOURS * HOUR).map(|second| calendar.at(second)).sum();
        assert!((sum / 1e6 - 1.0).abs() < 0.01, "{sum}");
    }

    #[test]
    fn drawn_sizes_have_expected_mean() {
        let sizes = Sizes::new(&Page::of_repository().unwrap()).unwrap();
        let mut rng = Generator::seed_from_u64(3);
        let bytes = |class: usize| to_f64(sizes.mp4[class]);
        let drawn: f64 = (0..400_000).map(|_| bytes(sizes.draw(&mut rng))).sum::<f64>() / 4e5;
        let expected = sizes.mean(bytes);
        assert!((drawn / expected - 1.0).abs() < 0.03, "{drawn} {expected}");
        assert!((sizes.mean(|_| 1.0) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn normal_distribution_matches_known_values() {
        assert!((normal_below(0.0) - 0.5).abs() < 1e-6);
        assert!((normal_below(1.644_853_6) - 0.95).abs() < 1e-6);
        assert!((normal_below(-1.0) - 0.158_655_25).abs() < 1e-6);
    }
}
