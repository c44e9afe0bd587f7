//! What operators are told: metrics, alarms, and the runbook.

mod alarms;
pub(crate) mod measured;
