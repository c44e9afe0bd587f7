//! Physical names, in place of those that CloudFormation would make up.

use crate::template::Stage;

/// The region that everything claims to be in.
pub(crate) const REGION: &str = "us-east-1";
/// The account that everything claims to belong to.
pub(crate) const ACCOUNT_ID: &str = "000000000000";
/// The stack's name, with which all physical names begin.
pub(crate) const STACK_NAME: &str = "reelay-dev";
/// What clients sign with; the engines refuse others.
pub(crate) const ACCESS_KEY_ID: &str = "test";
/// What clients sign with; the engines refuse others.
pub(crate) const SECRET_ACCESS_KEY: &str = "test";

/// The pseudo parameters.
pub(crate) fn stage() -> Stage {
    Stage {
        region: REGION.to_owned(),
        account_id: ACCOUNT_ID.to_owned(),
        stack_name: STACK_NAME.to_owned(),
    }
}

/// `LinksTable` becomes `reelay-dev-links`, `EventsDlq` `reelay-dev-events-dlq`.
pub(crate) fn physical(logical: &str) -> String {
    let base = ["Table", "Queue", "Bucket", "Function"]
        .iter()
        .find_map(|kind| logical.strip_suffix(kind));
    let mut name = STACK_NAME.to_owned();
    let mut after_lower = true;
    for letter in base
        .filter(|base| !base.is_empty())
        .unwrap_or(logical)
        .chars()
    {
        if letter.is_ascii_uppercase() && after_lower {
            name.push('-');
        }
        after_lower = !letter.is_ascii_uppercase();
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_made_from_logical_ids() {
        for (logical, name) in [
            ("LinksTable", "reelay-dev-links"),
            ("EventsDlq", "reelay-dev-events-dlq"),
            ("RecordingsBucket", "reelay-dev-recordings"),
            ("EventBus", "reelay-dev-event-bus"),
            ("AppApiFunction", "reelay-dev-app-api"),
            ("EventsDLQ", "reelay-dev-events-dlq"),
        ] {
            assert_eq!(super::physical(logical), name);
        }
    }
}
