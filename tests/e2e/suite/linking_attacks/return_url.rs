//! Where the browser may be sent at the end.

use serde_json::json;
use support::System;

#[tokio::test]
async fn a_return_url_that_is_not_listed_is_refused() {
    let listed = "https://app.example.test/settings/zoom,https://app.example.test/,http://localhost:3000/back";
    let system = System::with(&[("ReturnUrls", listed)]).await;
    let mut browser = system.browser();
    for return_to in [
        // Other hosts, some of them look-alikes.
        "https://evil.test/settings/zoom",
        "https://app.example.test.evil.test/settings/zoom",
        "https://evil-app.example.test/settings/zoom",
        "https://sub.app.example.test/settings/zoom",
        "https://example.test/settings/zoom",
        "https://app.example.test./settings/zoom",
        "https://app.example.tes\u{442}/settings/zoom",
        "https://\u{430}pp.example.test/settings/zoom",
        "https://app%2eexample.test%2f@evil.test/settings/zoom",
        // User info.
        "https://app.example.test@evil.test/settings/zoom",
        "https://app.example.test:443@evil.test/settings/zoom",
        "https://user@app.example.test/settings/zoom",
        "https://user:pass@app.example.test/settings/zoom",
        "https://@app.example.test/settings/zoom",
        "https://:@app.example.test/settings/zoom",
        // What browsers and parsers read differently.
        "https://evil.test\\@app.example.test/settings/zoom",
        "https://app.example.test\\@evil.test/settings/zoom",
        "https:\\\\app.example.test\\settings\\zoom",
        "https://app.example.test/settings\\zoom",
        "https://app.example.test/set\ttings/zoom",
        "https://app.example.test/settings/zoom\n",
        " https://app.example.test/settings/zoom",
        "https://app.example.test/settings/zoom\u{0}",
        "https:app.example.test/settings/zoom",
        "https:/app.example.test/settings/zoom",
        "https:///app.example.test/settings/zoom",
        "//app.example.test/settings/zoom",
        "/settings/zoom",
        "app.example.test/settings/zoom",
        "",
        // Other paths.
        "https://app.example.test/settings/zoom/",
        "https://app.example.test/settings",
        "https://app.example.test/settings/Zoom",
        "https://app.example.test/settings/zoom2",
        "https://app.example.test//settings/zoom",
        "https://app.example.test/x/../settings/zoom",
        "https://app.example.test/settings/./zoom",
        "https://app.example.test/x/%2e%2e/settings/zoom",
        "https://app.example.test/settings%2Fzoom",
        "https://app.example.test/settings/zoom;a=1",
        "https://app.example.test/settings/zoom#fragment",
        "https://app.example.test/settings/zoom#",
        // Other ports and schemes.
        "https://app.example.test:8443/settings/zoom",
        "https://app.example.test:80/settings/zoom",
        "http://app.example.test/settings/zoom",
        "http://app.example.test:443/settings/zoom",
        "http://localhost/back",
        "http://localhost:3001/back",
        "https://localhost:3000/back",
        "http://127.0.0.1:3000/back",
        "http://[::1]:3000/back",
        "javascript:alert(1)//app.example.test/settings/zoom",
        "data:text/html,https://app.example.test/settings/zoom",
        "ftp://app.example.test/settings/zoom",
        "reelay://app.example.test/settings/zoom",
        "blob:https://app.example.test/settings/zoom",
    ] {
        let token = system
            .app
            .connect_token_with("alice", json!({"return_to": return_to}));
        let visit = browser.visit(&system.app.connect_url(&token)).await;
        assert_eq!(visit.page(), "return_to_not_allowed", "{return_to:?}");
        assert!(!visit.body.contains("evil"), "the page repeats the address");
    }
    for no_text in [
        json!(7),
        json!([]),
        json!({"url": "https://app.example.test/"}),
    ] {
        let token = system
            .app
            .connect_token_with("alice", json!({"return_to": no_text}));
        let visit = browser.visit(&system.app.connect_url(&token)).await;
        assert_eq!(visit.page(), "connect_token_invalid", "{no_text}");
    }
}
