//! OAuth scopes that Reelay requires.

/// Required scopes, as (granular scope, classic scope). A Zoom app has one kind or the other; tokens
/// issued before a migration keep classic scopes.
const REQUIRED: [(&str, &str); 3] = [
    ("user:read:user", "user:read"),
    ("cloud_recording:read:list_user_recordings", "recording:read"),
    ("cloud_recording:read:list_recording_files", "recording:read"),
];

/// Returns the granular scopes to register a Zoom app with: the required ones, and the scope of Zoom's
/// recording events, which tokens do not need.
pub fn registration_scopes() -> impl Iterator<Item = &'static str> {
    REQUIRED.into_iter().map(|(granular, _)| granular).chain(["cloud_recording:read:recording"])
}

/// Whether a grant may move recordings to the trash, as `TrashAtZoomAfterDays` needs it. `granted` as in [`missing`].
pub fn allows_trash(granted: Option<&str>) -> bool {
    let is_sufficient = |scope: &str| {
        let scope =
            scope.strip_suffix(":admin").or_else(|| scope.strip_suffix(":master")).unwrap_or(scope);
        matches!(scope, "cloud_recording:delete:meeting_recording" | "recording:write")
    };
    granted.is_none_or(|granted| granted.split_whitespace().any(is_sufficient))
}

/// Returns the granular names of the required scopes that a grant lacks. `granted` is the token response's
/// space-separated `scope`; absent means "as requested" (RFC 6749 §5.1), so nothing is missing.
/// `:admin` and `:master` variants include the plain scope.
pub fn missing(granted: Option<&str>) -> Vec<&'static str> {
    let Some(granted) = granted else {
        return Vec::new();
    };
    let granted: Vec<&str> = granted
        .split_whitespace()
        .map(|scope| {
            scope.strip_suffix(":admin").or_else(|| scope.strip_suffix(":master")).unwrap_or(scope)
        })
        .collect();
    REQUIRED
        .iter()
        .filter(|(granular, classic)| !granted.contains(granular) && !granted.contains(classic))
        .map(|(granular, _)| *granular)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn granular_classic_and_admin_scopes_are_sufficient() {
        for sufficient in [
            "cloud_recording:read:list_recording_files cloud_recording:read:list_user_recordings user:read:user",
            "recording:read user:read",
            "recording:read:admin user:read:admin extra",
        ] {
            assert!(missing(Some(sufficient)).is_empty(), "{sufficient}");
        }
        assert!(missing(None).is_empty());
    }

    #[test]
    fn trash_needs_a_scope_of_its_own() {
        assert!(allows_trash(None) && allows_trash(Some("user:read recording:write:admin")));
        assert!(allows_trash(Some("cloud_recording:delete:meeting_recording")));
        assert!(!allows_trash(Some("recording:read user:read")));
    }

    #[test]
    fn missing_scopes_are_named() {
        assert_eq!(
            missing(Some("user:read:user cloud_recording:read:list_user_recordings")),
            ["cloud_recording:read:list_recording_files"]
        );
        assert_eq!(missing(Some("")).len(), 3);
    }
}
