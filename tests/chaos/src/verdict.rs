//! What came of a seed.

/// What came of a seed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Steps of operations that were run side by side, or to be killed.
    pub steps: usize,
    /// Operations that were killed.
    pub kills: usize,
    /// AWS calls that were spoiled.
    pub spoiled: usize,
    /// Pairs that Zoom gave and nobody lived to save.
    pub unavoidable_losses: usize,
    /// What must not be.
    pub violations: Vec<String>,
}

impl Verdict {
    /// Whether all held.
    pub fn is_ok(&self) -> bool {
        self.violations.is_empty()
    }
}
