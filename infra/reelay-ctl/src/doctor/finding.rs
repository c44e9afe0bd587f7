//! Result of one check.

use std::fmt;

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    /// Not verified: the check could not run, or its result needs a person's judgement.
    Warn,
    Fail,
}

/// Result of one check.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// Name of the check, such as `secret.zoom`.
    check: String,
    pub(super) status: Status,
    observed: String,
    /// Consequences of the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    impact: Option<String>,
    /// What to do, with the exact command.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: impl Into<String>, observed: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            status: Status::Ok,
            observed: observed.into(),
            impact: None,
            fix: None,
        }
    }

    pub(super) fn warn(
        check: impl Into<String>,
        observed: impl Into<String>,
        impact: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            status: Status::Warn,
            impact: Some(impact.into()),
            fix: Some(fix.into()),
            ..Self::ok(check, observed)
        }
    }

    pub(super) fn fail(
        check: impl Into<String>,
        observed: impl Into<String>,
        impact: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { status: Status::Fail, ..Self::warn(check, observed, impact, fix) }
    }

    /// The check could not run because AWS rejected its request.
    pub(super) fn not_checked(check: impl Into<String>, error: &dyn fmt::Display) -> Self {
        Self::warn(
            check,
            format!("not checked: {error}"),
            "the doctor cannot tell whether this part works.",
            "grant your AWS identity read access, then run `reelay doctor` again.",
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        };
        write!(f, "{status:<5} {:<24} {}", self.check, self.observed)?;
        for (label, text) in [("impact", &self.impact), ("fix", &self.fix)] {
            let Some(text) = text else { continue };
            for (index, line) in text.lines().enumerate() {
                let label = if index == 0 { label } else { "" };
                write!(f, "\n      {label:<6} {line}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_is_printed_with_impact_and_fix() {
        let finding = Finding::fail("a.b", "it is off", "nothing works", "do this:\nthat");
        assert_eq!(
            finding.to_string(),
            "FAIL  a.b                      it is off\n      impact nothing works\n      fix    do this:\n             that"
        );
        assert_eq!(
            serde_json::to_value(Finding::ok("a", "fine")).unwrap(),
            serde_json::json!({"check": "a", "status": "ok", "observed": "fine"})
        );
    }
}
