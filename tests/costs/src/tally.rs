//! Quantiles of many waits.

/// Waits up to this many seconds are told apart; longer ones in steps of a twentieth.
const EXACT: u32 = 60;
const STEP: f64 = 1.05;
/// Enough for a month.
const BINS: usize = 300;

/// How long messages have waited.
#[derive(Debug, Clone)]
pub struct Tally {
    bins: Vec<u64>,
    count: u64,
    most: u32,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            bins: vec![0; BINS],
            count: 0,
            most: 0,
        }
    }
}

impl Tally {
    /// So many have waited so long.
    pub fn add(&mut self, seconds: u32, count: u64) {
        if count > 0 {
            self.bins[bin(seconds)] += count;
            self.count += count;
            self.most = self.most.max(seconds);
        }
    }

    /// How long that share of them has waited at most, in seconds.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        let wanted = share * crate::queue::as_number(self.count);
        let mut below = 0;
        for (bin, count) in self.bins.iter().enumerate() {
            below += count;
            if below > 0 && crate::queue::as_number(below) >= wanted {
                return upper(bin).min(self.most.into());
            }
        }
        0.0
    }

    /// How long the one has waited that waited longest, in seconds.
    #[must_use]
    pub fn most(&self) -> f64 {
        self.most.into()
    }
}

fn bin(seconds: u32) -> usize {
    if seconds <= EXACT {
        return seconds as usize;
    }
    let steps = (f64::from(seconds) / f64::from(EXACT)).ln() / STEP.ln();
    let beyond = usize::try_from(crate::dice::whole(steps.ceil())).unwrap_or(BINS);
    (EXACT as usize + beyond).min(BINS - 1)
}

fn upper(bin: usize) -> f64 {
    let beyond = bin.saturating_sub(EXACT as usize);
    let steps = i32::try_from(beyond).unwrap_or(i32::MAX);
    if beyond == 0 {
        crate::queue::as_number(bin as u64)
    } else {
        f64::from(EXACT) * STEP.powi(steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_twentieth() {
        let mut tally = Tally::default();
        for seconds in 0..10_000 {
            tally.add(seconds, 1);
        }
        for share in [0.001, 0.5, 0.95, 0.999] {
            let expected = share * 10_000.0;
            let found = tally.quantile(share);
            // The first that a share ends at may be a second short.
            let off = (found - expected).abs();
            assert!(off <= 1.0 + 0.06 * expected, "{share}: {found}");
        }
        assert_eq!(tally.quantile(1.0), 9_999.0);
        assert_eq!(Tally::default().quantile(0.5), 0.0);
    }
}
