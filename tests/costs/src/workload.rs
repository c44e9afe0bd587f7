//! When recordings complete and how large they are. A plain model of offices around the world, harsher than what
//! is to be expected: Zoom works on a recording for up to twice its length, which spreads what ends together; here
//! events come at the meetings' end.

use crate::dice::{Dice, whole};
use crate::page::{Page, PageError};

/// Seconds of an hour.
pub const HOUR: u32 = 3_600;
/// Hours of the month: 30 days, the first of which is a Monday (UTC).
pub const HOURS: u32 = 30 * 24;

/// Offices: minutes ahead of UTC, and their share of all meetings.
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

/// Of a weekday's meetings those that end in each hour, by the clock on the wall.
const DAY: [f64; 24] = [
    0.1, 0.05, 0.05, 0.05, 0.05, 0.1, 0.4, 1.2, 4.0, 8.5, 11.0, 11.5, 7.5, 8.0, 11.0, 11.0, 10.0,
    6.5, 3.5, 2.0, 1.6, 1.0, 0.6, 0.3,
];

/// Of a weekday's meetings so many take place on a day of the week, Monday first.
const WEEK: [f64; 7] = [0.95, 1.05, 1.05, 1.05, 0.90, 0.12, 0.08];

/// Whose recordings.
pub const GROUPS: usize = 2;
/// All accounts but one.
pub const EVERYBODY: usize = 0;
/// The one account that is much larger than all others.
pub const LARGEST: usize = 1;

/// How large files are.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// Bytes of the MP4 of each class.
    pub mp4: Vec<u64>,
    /// Bytes of the M4A of each class.
    pub m4a: Vec<u64>,
    /// Bytes of every other file.
    pub small: u64,
    /// Share of the recordings in this class and those below.
    up_to: Vec<f64>,
}

impl Sizes {
    /// As the page assumes: lognormal, with a tail by Pareto, cut at the largest.
    pub fn assumed(page: &Page) -> Result<Self, PageError> {
        const CLASSES: u32 = 48;
        const MB: f64 = 1e6;
        let median = page.assumed("MP4: median, MB")?;
        let spread = page.assumed("MP4: spread (σ of the logarithm)")?;
        let in_tail = page.assumed("MP4: share in the tail")?;
        let exponent = page.assumed("MP4: exponent of the tail")?;
        let largest = page.assumed("MP4: largest, MB")?;
        let audio = page.assumed("M4A: share of the MP4")?;
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
        let (mut mp4, mut m4a, mut up_to) = (Vec::new(), Vec::new(), Vec::new());
        for class in 0..CLASSES {
            let upper = smallest * step.powf(f64::from(class + 1));
            let middle = upper / step.sqrt();
            mp4.push(whole(middle * MB));
            m4a.push(whole(middle * audio * MB));
            up_to.push(below(upper * 1.000_001));
        }
        Ok(Self {
            mp4,
            m4a,
            small: whole(page.assumed("other files, MB")? * MB),
            up_to,
        })
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.mp4.len()
    }

    /// The class of one recording.
    pub fn draw(&self, dice: &mut Dice) -> usize {
        let at = dice.even();
        self.up_to
            .partition_point(|up_to| *up_to <= at)
            .min(self.classes() - 1)
    }

    /// What something is on average, by class.
    pub fn average(&self, of: impl Fn(usize) -> f64) -> f64 {
        let mut below = 0.0;
        let mut sum = 0.0;
        for (class, up_to) in self.up_to.iter().enumerate() {
            sum += (up_to - below) * of(class);
            below = *up_to;
        }
        sum
    }
}

/// How many recordings complete when.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// Recordings in each hour of the month, on average.
    by_hour: Vec<f64>,
    on_the_hour: f64,
    on_the_half: f64,
    fades: f64,
}

impl Calendar {
    /// A month of so many recordings, as the page assumes.
    pub fn assumed(page: &Page, recordings: f64) -> Result<Self, PageError> {
        let mut by_hour: Vec<f64> = (0..HOURS).map(busy).collect();
        let sum: f64 = by_hour.iter().sum();
        by_hour
            .iter_mut()
            .for_each(|hour| *hour *= recordings / sum);
        Ok(Self {
            by_hour,
            on_the_hour: page.assumed("share that ends on the hour")?,
            on_the_half: page.assumed("share that ends on the half hour")?,
            fades: page.assumed("seconds in which a burst fades to a third")?,
        })
    }

    /// Recordings in this second of the month, on average.
    pub fn in_second(&self, second: u32) -> f64 {
        let hour = self.by_hour.get((second / HOUR) as usize);
        let within = f64::from(second % HOUR);
        let burst = |since: f64| (-since / self.fades).exp() / self.fades;
        let even = (1.0 - self.on_the_hour - self.on_the_half) / f64::from(HOUR);
        let half = within - f64::from(HOUR) / 2.0;
        let shape = even
            + self.on_the_hour * burst(within)
            + if half >= 0.0 {
                self.on_the_half * burst(half)
            } else {
                0.0
            };
        hour.copied().unwrap_or_default() * shape
    }
}

/// How busy an hour of the month is, beside others.
fn busy(hour: u32) -> f64 {
    ZONES
        .iter()
        .map(|(ahead, share)| {
            // Offices that are half an hour ahead end their meetings on our half hours: their hour counts for both.
            let minutes = (i64::from(hour) * 60 + i64::from(*ahead)).rem_euclid(7 * 24 * 60);
            let local = usize::try_from(minutes / 60).unwrap_or_default();
            share * DAY[local % 24] * WEEK[local / 24]
        })
        .sum()
}

/// Share of the standard normal distribution below `x` (Abramowitz and Stegun, 7.1.26: within 1.5e-7).
fn normal_below(x: f64) -> f64 {
    let z = x.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let series = [
        1.061_405_429,
        -1.453_152_027,
        1.421_413_741,
        -0.284_496_736,
        0.254_829_592,
    ];
    let error = 1.0 - series.iter().fold(0.0, |sum, term| (sum + term) * t) * (-z * z).exp();
    if x < 0.0 {
        (1.0 - error) / 2.0
    } else {
        (1.0 + error) / 2.0
    }
}

/// Where a claim ceases to hold.
fn bisect(holds: impl Fn(f64) -> bool, mut low: f64, mut high: f64) -> f64 {
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if holds(middle) {
            low = middle
        } else {
            high = middle
        }
    }
    low
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_month_has_as_many_recordings_as_were_asked_for() {
        let calendar = Calendar::assumed(&Page::of_repository().unwrap(), 1e6).unwrap();
        let sum: f64 = (0..HOURS * HOUR)
            .map(|second| calendar.in_second(second))
            .sum();
        assert!((sum / 1e6 - 1.0).abs() < 0.01, "{sum}");
    }

    #[test]
    fn drawn_sizes_have_the_average_that_the_classes_have() {
        let sizes = Sizes::assumed(&Page::of_repository().unwrap()).unwrap();
        let mut dice = Dice::new(3);
        #[allow(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
        let bytes = |class: usize| sizes.mp4[class] as f64;
        let drawn: f64 = (0..400_000)
            .map(|_| bytes(sizes.draw(&mut dice)))
            .sum::<f64>()
            / 4e5;
        let expected = sizes.average(bytes);
        assert!((drawn / expected - 1.0).abs() < 0.03, "{drawn} {expected}");
        assert!((sizes.average(|_| 1.0) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn half_of_the_recordings_are_below_the_median() {
        assert!((normal_below(0.0) - 0.5).abs() < 1e-6);
        assert!((normal_below(1.644_853_6) - 0.95).abs() < 1e-6);
        assert!((normal_below(-1.0) - 0.158_655_25).abs() < 1e-6);
    }
}
