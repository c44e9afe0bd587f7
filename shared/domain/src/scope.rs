//! The OAuth scopes that Reelay cannot work without.

/// What is needed, as (granular scope, classic scope). An app has one or the other kind; tokens
/// issued before a migration keep classic values.
const NEEDED: [(&str, &str); 3] = [
    ("user:read:user", "user:read"),
    (
        "cloud_recording:read:list_user_recordings",
        "recording:read",
    ),
    (
        "cloud_recording:read:list_recording_files",
        "recording:read",
    ),
];

/// The scopes with which a Zoom app is registered, by their granular names: those above, and the one that
/// lets Zoom send events about recordings, of which a token needs nothing.
pub fn registration_scopes() -> impl Iterator<Item = &'static str> {
    NEEDED
        .into_iter()
        .map(|(granular, _)| granular)
        .chain(["cloud_recording:read:recording"])
}

/// The needed scopes that a grant lacks, by their granular names. `granted` is the token answer's
/// space-separated `scope`; absent means "as requested" (RFC 6749 §5.1), so nothing is missing.
/// `:admin` and `:master` variants contain the plain ones.
pub fn missing(granted: Option<&str>) -> Vec<&'static str> {
    let Some(granted) = granted else {
        return Vec::new();
    };
    let granted: Vec<&str> = granted
        .split_whitespace()
        .map(|scope| {
            scope
                .strip_suffix(":admin")
                .or_else(|| scope.strip_suffix(":master"))
                .unwrap_or(scope)
        })
        .collect();
    NEEDED
        .iter()
        .filter(|(granular, classic)| !granted.contains(granular) && !granted.contains(classic))
        .map(|(granular, _)| *granular)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn granular_classic_and_admin_scopes_suffice() {
        for enough in [
            "cloud_recording:read:list_recording_files cloud_recording:read:list_user_recordings user:read:user",
            "recording:read user:read",
            "recording:read:admin user:read:admin extra",
        ] {
            assert!(missing(Some(enough)).is_empty(), "{enough}");
        }
        assert!(missing(None).is_empty());
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(
            missing(Some(
                "user:read:user cloud_recording:read:list_user_recordings"
            )),
            ["cloud_recording:read:list_recording_files"]
        );
        assert_eq!(missing(Some("")).len(), 3);
    }
}
