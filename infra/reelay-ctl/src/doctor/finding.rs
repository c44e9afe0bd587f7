//! What a check found.

use std::fmt;

use serde::Serialize;

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// Shown to be right.
    Ok,
    /// Not shown to be right: it could not be asked, or somebody should look.
    Warn,
    /// Shown to be wrong.
    Fail,
}

/// A check, and what came of it.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// Which check, such as `secret.zoom`.
    check: String,
    pub(super) status: Status,
    /// What was seen.
    found: String,
    /// What follows from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    means: Option<String>,
    /// What to do, with the exact command.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            status: Status::Ok,
            found: found.into(),
            means: None,
            mend: None,
        }
    }

    pub(super) fn warn(
        check: impl Into<String>,
        found: impl Into<String>,
        means: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            status: Status::Warn,
            means: Some(means.into()),
            mend: Some(mend.into()),
            ..Self::ok(check, found)
        }
    }

    pub(super) fn fail(
        check: impl Into<String>,
        found: impl Into<String>,
        means: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            status: Status::Fail,
            ..Self::warn(check, found, means, mend)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        };
        write!(f, "{status:<5} {:<24} {}", self.check, self.found)?;
        for (name, text) in [("means", &self.means), ("mend", &self.mend)] {
            let Some(text) = text else { continue };
            for (at, line) in text.lines().enumerate() {
                let name = if at == 0 { name } else { "" };
                write!(f, "\n      {name:<6} {line}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_with_what_it_means_and_how_to_mend_it() {
        let finding = Finding::fail("a.b", "it is off", "nothing works", "do this:\nthat");
        assert_eq!(
            finding.to_string(),
            "FAIL  a.b                      it is off\n      means  nothing works\n      mend   do this:\n             that"
        );
        assert_eq!(
            serde_json::to_value(Finding::ok("a", "fine")).unwrap(),
            serde_json::json!({"check": "a", "status": "ok", "found": "fine"})
        );
    }
}
