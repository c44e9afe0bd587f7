//! Quantiles of the time that messages wait in a queue.

use crate::number::to_f64;

/// Number of messages by seconds waited.
#[derive(Debug, Clone, Default)]
pub(crate) struct WaitTimes(Vec<u64>);

impl WaitTimes {
    pub(crate) fn add(&mut self, seconds: u32, messages: u64) {
        let seconds = seconds as usize;
        if messages > 0 && self.0.len() <= seconds {
            self.0.resize(seconds + 1, 0);
        }
        if messages > 0 {
            self.0[seconds] += messages;
        }
    }

    /// Median, 95th percentile and maximum in seconds.
    pub(crate) fn summary(&self) -> [usize; 3] {
        let total = to_f64(self.0.iter().sum());
        [0.5, 0.95, 1.0].map(|share| {
            let mut at_most = 0;
            let quantile = self.0.iter().position(|messages| {
                at_most += messages;
                to_f64(at_most) >= share * total
            });
            quantile.unwrap_or_default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_has_median_percentile_and_maximum() {
        let mut waits = WaitTimes::default();
        assert_eq!(waits.summary(), [0, 0, 0]);
        for seconds in 1..=10_000 {
            waits.add(seconds, 2);
        }
        assert_eq!(waits.summary(), [5_000, 9_500, 10_000]);
    }
}
