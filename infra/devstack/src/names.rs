//! Physical names, which CloudFormation generates for a deployed stack.

use crate::template::PseudoParameters;

/// Region in ARNs and endpoints.
pub(crate) const REGION: &str = "us-east-1";
/// Account id in ARNs and queue URLs.
pub(crate) const ACCOUNT_ID: &str = "000000000000";
/// Name of the stack and prefix of all physical names.
pub(crate) const STACK_NAME: &str = "reelay-dev";
/// Access key id that the engines accept.
pub(crate) const ACCESS_KEY_ID: &str = "test";
/// Secret access key that the engines accept.
pub(crate) const SECRET_ACCESS_KEY: &str = "test";

/// Values of CloudFormation's pseudo parameters.
pub(crate) fn pseudo_parameters() -> PseudoParameters {
    PseudoParameters {
        region: REGION.to_owned(),
        account_id: ACCOUNT_ID.to_owned(),
        stack_name: STACK_NAME.to_owned(),
    }
}

/// Derives a name from a logical id: `LinksTable` becomes `reelay-dev-links`.
pub(crate) fn physical(logical: &str) -> String {
    let base =
        ["Table", "Queue", "Bucket", "Function"].iter().find_map(|kind| logical.strip_suffix(kind));
    let mut name = STACK_NAME.to_owned();
    let mut after_lower = true;
    for letter in base.filter(|base| !base.is_empty()).unwrap_or(logical).chars() {
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
    fn names_derive_from_logical_ids() {
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
