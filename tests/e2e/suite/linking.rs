//! Linking without failures.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use reqwest::header::{HOST, LOCATION};
use serde_json::{Value, json};
use support::System;
use support::zoom_users::{ADA, BEN, CEM};
use url::Url;

/// Number of code exchanges that were requested from Zoom.
pub(crate) fn exchanges(system: &System) -> usize {
    let requests = system.zoom().requests();
    requests.iter().filter(|request| request.detail.as_deref() == Some("exchange")).count()
}

/// A query parameter of a URL.
pub(crate) fn parameter(url: &str, name: &str) -> String {
    let url = Url::parse(url).unwrap();
    let found = url.query_pairs().find(|(key, _)| key == name);
    found.unwrap_or_else(|| panic!("no {name} in {url}")).1.into_owned()
}

/// The URL with another value of one query parameter.
pub(crate) fn with_parameter(url: &str, name: &str, value: &str) -> String {
    let mut changed = Url::parse(url).unwrap();
    let old = Url::parse(url).unwrap();
    let others = old.query_pairs().filter(|(key, _)| key != name);
    changed.query_pairs_mut().clear().extend_pairs(others).append_pair(name, value);
    changed.into()
}

#[tokio::test]
async fn authorize_redirect_has_exactly_the_documented_parameters() {
    let system = System::start().await;
    let mut browser = system.browser();
    let token = system.app.connect_token("alice");
    let authorize = Url::parse(&system.authorize(&mut browser, &token).await).unwrap();
    let zoom = system.zoom().url();
    assert_eq!((authorize.origin(), authorize.path()), (zoom.origin(), "/oauth/authorize"));

    let pairs: Vec<_> = authorize.query_pairs().into_owned().collect();
    let query: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(pairs.len(), query.len(), "a parameter repeats");
    let names: Vec<_> = query.keys().map(String::as_str).collect();
    let listed = [
        "client_id",
        "code_challenge",
        "code_challenge_method",
        "redirect_uri",
        "response_type",
        "state",
    ];
    assert_eq!(names, listed);
    assert_eq!(query["response_type"], "code");
    assert_eq!(query["client_id"], system.config().secrets.zoom_client_id);
    assert_eq!(query["redirect_uri"], format!("{}/zoom/callback", system.stack.url()));
    assert_eq!(query["code_challenge_method"], "S256");
    assert_eq!(URL_SAFE_NO_PAD.decode(&query["code_challenge"]).unwrap().len(), 32);
    // Version, nonce, expiry and MAC, but no user.
    assert_eq!(URL_SAFE_NO_PAD.decode(&query["state"]).unwrap().len(), 1 + 16 + 8 + 32);

    let again = system.authorize(&mut browser, &token).await;
    for name in ["state", "code_challenge"] {
        assert_ne!(parameter(&again, name), query[name], "{name} is used twice");
    }
}

#[tokio::test]
async fn redirect_uri_ignores_host_headers() {
    let system = System::with(&[("PublicUrl", "")]).await;
    let url = system.app.connect_url(&system.app.connect_token("alice"));
    let forged = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
        .get(url)
        .header(HOST, "evil.test")
        .header("x-forwarded-host", "evil.test")
        .header("forwarded", "host=evil.test")
        .send()
        .await
        .unwrap();
    let authorize = forged.headers()[LOCATION].to_str().unwrap();
    let domain = system.stack.url().strip_prefix("http://").unwrap();
    assert_eq!(parameter(authorize, "redirect_uri"), format!("https://{domain}/zoom/callback"));
}

#[tokio::test]
async fn cookie_is_secure_host_only_for_ten_minutes() {
    let system = System::start().await;
    let mut browser = system.browser();
    let url = system.app.connect_url(&system.app.connect_token("alice"));
    let visit = browser.visit(&url).await;
    let cookie = visit.set_cookie.unwrap();
    let (pair, attributes) = cookie.split_once(';').unwrap();
    let (name, value) = pair.split_once('=').unwrap();
    assert_eq!(name, "__Host-reelay-connect");
    assert_eq!(URL_SAFE_NO_PAD.decode(value).unwrap().len(), 32);
    let attributes: BTreeSet<_> = attributes.split(';').map(str::trim).collect();
    assert_eq!(
        attributes,
        BTreeSet::from(["HttpOnly", "Max-Age=600", "Path=/", "SameSite=Lax", "Secure"])
    );

    let another = system.browser().visit(&url).await.set_cookie.unwrap();
    assert!(!another.contains(value), "browsers share a secret");
}

#[tokio::test]
async fn two_tabs_share_one_cookie() {
    let system = System::start().await;
    let mut browser = system.browser();
    let first = system.callback(&mut browser, "alice", ADA).await;
    let cookie = browser.cookie.clone();
    let second = system.callback(&mut browser, "alice", BEN).await;
    assert_eq!(browser.cookie, cookie, "the second tab replaced the cookie");
    // The later flow returns first.
    for callback in [second, first] {
        let claim = browser.visit(&callback).await.claim();
        assert_eq!(system.app.confirm("alice", &claim).await.status, 200);
    }
    assert_eq!(system.app.links("alice").await.len(), 2);
}

#[tokio::test]
async fn malformed_cookie_is_replaced() {
    let system = System::start().await;
    let url = system.app.connect_url(&system.app.connect_token("alice"));
    let valid = URL_SAFE_NO_PAD.encode([7; 32]);
    let name = "__Host-reelay-connect";
    let mut browser = system.browser();
    for odd in [
        format!("{name}="),
        format!("{name}={}", &valid[1..]),
        format!("{name}={valid}A"),
        format!("{name}={valid}="),
        format!("{name}=<script>"),
        format!("reelay-connect={valid}"),
        // Two cookies of the same name are ambiguous.
        format!("{name}={valid}; {name}={}", URL_SAFE_NO_PAD.encode([8; 32])),
    ] {
        browser.cookie = Some(odd.clone());
        let set = browser.visit(&url).await.set_cookie.unwrap();
        assert!(!set.contains(&valid[1..]), "{odd} was kept: {set}");
    }
    browser.cookie = Some(format!("{name}={valid}"));
    assert!(browser.visit(&url).await.set_cookie.unwrap().contains(&valid));
}

#[tokio::test]
async fn browser_returns_to_requested_or_first_return_url() {
    let listed = "https://app.example.test/settings?tab=zoom, https://app.example.test/team";
    let system = System::with(&[("ReturnUrls", listed)]).await;
    let team = "https://app.example.test/team";
    for (return_to, base, query) in [
        (None, "https://app.example.test/settings", vec![("tab", "zoom")]),
        (Some(team.to_owned()), team, vec![]),
        (Some("HTTPS://APP.example.test:443/team".to_owned()), team, vec![]),
        (
            Some(format!("{team}?id=7&name=a%26b%20%C3%A9&id=8")),
            team,
            vec![("id", "7"), ("name", "a&b é"), ("id", "8")],
        ),
        // Reelay's own parameters are removed in any encoding.
        (
            Some(format!("{team}?zoom_link=forged&a=1&zoom_error=none&zoom%5Flink=again")),
            team,
            vec![("a", "1")],
        ),
        (Some(format!("{team}?zoom_link=forged")), team, vec![]),
    ] {
        let more = return_to.as_ref().map_or(json!({}), |url| json!({"return_to": url}));
        let token = system.app.connect_token_with("alice", more);

        let mut browser = system.browser();
        let authorize = system.authorize(&mut browser, &token).await;
        let callback = system.allow(&mut browser, &authorize, ADA).await;
        let linked = browser.visit(&callback).await;
        let authorize = system.authorize(&mut browser, &token).await;
        let callback = system.deny(&mut browser, &authorize).await;
        let denied = browser.visit(&callback).await;

        let claim = linked.claim();
        for (visit, ours) in
            [(&linked, ("zoom_link", claim.as_str())), (&denied, ("zoom_error", "access_denied"))]
        {
            let location = Url::parse(visit.location.as_ref().unwrap()).unwrap();
            let mut without_query = location.clone();
            without_query.set_query(None);
            assert_eq!(without_query.as_str(), base, "{return_to:?}");
            let pairs: Vec<_> = location.query_pairs().into_owned().collect();
            let expected: Vec<_> =
                query.iter().chain([&ours]).map(|(k, v)| (k.to_string(), v.to_string())).collect();
            assert_eq!(pairs, expected, "{return_to:?}");
        }
    }
}

#[tokio::test]
async fn return_to_query_is_preserved() {
    let listed = "https://app.example.test/back";
    let system = System::with(&[("ReturnUrls", listed)]).await;
    let query = "flag&name=a%20b&path=/x/y&list=1,2&bytes=%FF&plus=a+b";
    for (requested, kept) in [
        (format!("{listed}?{query}"), format!("{listed}?{query}&")),
        (format!("{listed}?zoom_link=forged&{query}&zoom_error"), format!("{listed}?{query}&")),
    ] {
        let token = system.app.connect_token_with("alice", json!({"return_to": requested}));
        let mut browser = system.browser();
        let authorize = system.authorize(&mut browser, &token).await;
        let callback = system.deny(&mut browser, &authorize).await;
        let location = browser.visit(&callback).await.location.unwrap();
        assert_eq!(location, format!("{kept}zoom_error=access_denied"));
    }
}

#[tokio::test]
async fn relinking_keeps_link_active_with_same_id() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    system.advance(SignedDuration::from_mins(60));
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    assert_eq!(
        system.app.links("alice").await,
        std::slice::from_ref(&link),
        "the consent changed the link"
    );

    let again = system.app.confirm("alice", &claim).await;
    assert_eq!(again.status, 200);
    for same in ["id", "status", "zoom", "created_at"] {
        assert_eq!(again.json()[same], link[same], "{same}");
    }
    assert_eq!(system.app.links("alice").await, [again.json()]);
}

#[tokio::test]
async fn app_users_and_zoom_users_link_many_to_many() {
    let system = System::start().await;
    let alice_ada = system.link("alice", ADA).await;
    let bob_ada = system.link("bob", ADA).await;
    let alice_cem = system.link("alice", CEM).await;
    let ids: BTreeSet<_> =
        [&alice_ada, &bob_ada, &alice_cem].map(|link| link["id"].to_string()).into();
    assert_eq!(ids.len(), 3, "link ids repeat");

    let by_id = |links: Vec<Value>| -> BTreeMap<String, Value> {
        links.into_iter().map(|link| (link["id"].to_string(), link)).collect()
    };
    assert_eq!(by_id(system.app.links("alice").await), by_id(vec![alice_ada, alice_cem]));
    assert_eq!(system.app.links("bob").await, [bob_ada]);
    assert!(system.app.links("carol").await.is_empty());
}

#[tokio::test]
async fn jti_is_consumed_at_activation() {
    let system = System::start().await;
    let token = system.app.connect_token_with("alice", json!({"jti": "one"}));
    // A link preview by another server.
    system.authorize(&mut system.browser(), &token).await;

    let mut browser = system.browser();
    let authorize = system.authorize(&mut browser, &token).await;
    let callback = system.allow(&mut browser, &authorize, ADA).await;
    let claim = browser.visit(&callback).await.claim();
    system.authorize(&mut browser, &token).await;
    assert_eq!(system.app.confirm("alice", &claim).await.status, 200);

    let spent = browser.visit(&system.app.connect_url(&token)).await;
    assert_eq!(spent.error_page(), "connect_token_spent");
    // A `jti` is scoped to its app user.
    let bobs = system.app.connect_token_with("bob", json!({"jti": "one"}));
    system.authorize(&mut browser, &bobs).await;
}

#[tokio::test]
async fn owner_may_repeat_claim_until_expiry() {
    let system = System::start().await;
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    // The same holds for two concurrent requests.
    let (first, second) =
        tokio::join!(system.app.confirm("alice", &claim), system.app.confirm("alice", &claim));
    assert_eq!((first.status, &first.body), (200, &second.body));

    system.advance(SignedDuration::from_secs(590));
    let late = system.app.confirm("alice", &claim).await;
    assert_eq!((late.status, &late.body), (200, &first.body));

    system.advance(SignedDuration::from_secs(10));
    assert_eq!(system.app.confirm("alice", &claim).await.code(), "claim_expired");
    assert_eq!(system.app.links("alice").await, [first.json()], "the link ended with its claim");
}

#[tokio::test]
async fn consent_may_take_almost_ten_minutes() {
    let system = System::start().await;
    let mut browser = system.browser();
    let authorize = system.authorize(&mut browser, &system.app.connect_token("alice")).await;
    system.advance(SignedDuration::from_secs(590));
    let callback = system.allow(&mut browser, &authorize, ADA).await;
    let claim = browser.visit(&callback).await.claim();
    assert_eq!(system.app.confirm("alice", &claim).await.status, 200);
}

#[tokio::test]
async fn marketplace_install_restarts_without_code_exchange() {
    let install_url = "https://app.example.test/install?from=zoom";
    let with = System::with(&[("InstallUrl", install_url)]).await;
    let without = System::start().await;
    for system in [&with, &without] {
        let mut browser = system.browser();
        // A code without a PKCE challenge, which Zoom would exchange.
        let authorize = system.zoom().url().join("oauth/authorize").unwrap();
        let client_id = &system.config().secrets.zoom_client_id;
        let redirect_uri = format!("{}/zoom/callback", system.stack.url());
        let query = format!(
            "{authorize}?response_type=code&client_id={client_id}&redirect_uri={redirect_uri}"
        );
        let callback = system.allow(&mut browser, &query, ADA).await;
        // The same holds in a browser with a flow in progress.
        system.authorize(&mut browser, &system.app.connect_token("alice")).await;
        for visit in [system.browser().visit(&callback).await, browser.visit(&callback).await] {
            if std::ptr::eq(system, &raw const with) {
                assert_eq!((visit.status, visit.location.as_deref()), (302, Some(install_url)));
                assert_eq!(visit.set_cookie, None);
            } else {
                assert_eq!(visit.error_page(), "install_restart");
            }
        }
        assert_eq!(exchanges(system), 0);
        assert!(system.zoom().grants().is_empty());
    }
}

#[tokio::test]
async fn flow_survives_state_key_rotation() {
    let system = System::start().await;
    let mut browser = system.browser();
    let begun = system.callback(&mut browser, "alice", ADA).await;
    let begun_too = system.callback(&mut browser, "alice", BEN).await;
    system.rotate_function_secret("oauth-start", "STATE_KEY", &"n".repeat(44)).await;
    // The callback verifies with both versions of the key.
    browser.visit(&begun).await.claim();

    // After five minutes oauth-start signs with a newer key than the callback has read.
    system.rotate_function_secret("oauth-start", "STATE_KEY", &"o".repeat(44)).await;
    system.advance(SignedDuration::from_secs(301));
    let renewed = system.callback(&mut browser, "alice", CEM).await;
    browser.visit(&renewed).await.claim();
    // A state that was signed two keys ago is invalid.
    assert_eq!(browser.visit(&begun_too).await.error_page(), "state_invalid");
}

#[tokio::test]
async fn callback_rereads_key_for_newer_state() {
    let system = System::start().await;
    let mut browser = system.browser();
    // Functions cache a key for five minutes: oauth-start reads it now, oauth-callback 200 seconds later.
    let token = system.app.connect_token("alice");
    let authorize = system.authorize(&mut browser, &token).await;
    system.advance(SignedDuration::from_secs(200));
    let callback = system.allow(&mut browser, &authorize, ADA).await;
    browser.visit(&callback).await.claim();

    system.rotate_function_secret("oauth-start", "STATE_KEY", &"n".repeat(44)).await;
    system.advance(SignedDuration::from_secs(101));
    let newer = system.callback(&mut browser, "alice", BEN).await;
    browser.visit(&newer).await.claim();
}

#[tokio::test]
async fn tokens_and_flows_survive_app_secret_rotation() {
    let system = System::start().await;
    let app = &system.app;
    let mut browser = system.browser();
    let (connect, api) = (app.connect_token("alice"), app.api_token("alice"));
    let callback = system.callback(&mut browser, "alice", ADA).await;
    assert!(app.links("alice").await.is_empty());

    let new = "n".repeat(44);
    system.rotate_function_secret("oauth-start", "APP_SECRET", &new).await;
    system.authorize(&mut browser, &connect).await;
    let claim = browser.visit(&callback).await.claim();
    let body = json!({"claim": claim}).to_string();
    let confirmed =
        app.call_with(reqwest::Method::POST, "/v1/links/confirm", Some(&api), Some(body)).await;
    assert_eq!(confirmed.status, 200, "{confirmed:?}");

    // The new secret works at once: a failed verification rereads it.
    let hs256 = jsonwebtoken::Header::default();
    let new_api = app.sign_with(&app.claims("reelay:api", "alice"), &hs256, &new);
    let links = app.get_with("/v1/links", &new_api).await;
    assert_eq!(links.status, 200, "{links:?}");
    let new_connect = app.sign_with(&app.claims("reelay:connect", "alice"), &hs256, &new);
    system.authorize(&mut browser, &new_connect).await;
}
