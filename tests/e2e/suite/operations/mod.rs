//! Operations: metrics, alarms, and the runbook.

mod alarms;
pub(crate) mod measured;
