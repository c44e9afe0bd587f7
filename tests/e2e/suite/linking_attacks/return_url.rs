//! `return_to`: one rejected URL per kind. `reelay_domain::return_url` tests the table.

use serde_json::json;
use support::System;

#[tokio::test]
async fn unlisted_return_url_is_rejected() {
    let listed = "https://app.example.test/settings/zoom,http://localhost:3000/back";
    let system = System::with(&[("ReturnUrls", listed)]).await;
    let mut browser = system.browser();
    for (return_to, code) in [
        (json!("https://evil.test/settings/zoom"), "return_to_not_allowed"),
        (json!("https://app.example.test@evil.test/settings/zoom"), "return_to_not_allowed"),
        (json!("https://app.example.test/settings"), "return_to_not_allowed"),
        (json!("http://localhost/back"), "return_to_not_allowed"),
        (json!("javascript:alert(1)"), "return_to_not_allowed"),
        (json!(7), "connect_token_invalid"),
        (json!(["https://evil.test/"]), "connect_token_invalid"),
    ] {
        let more = json!({"return_to": return_to});
        let token = system.app.connect_token_with("alice", more);
        let visit = browser.visit(&system.app.connect_url(&token)).await;
        assert_eq!(visit.error_page(), code, "{return_to}");
        assert!(!visit.body.contains("evil"), "the page repeats the URL");
    }
}
