//! Linking, as it goes well.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use reqwest::header::{HOST, HeaderMap, LOCATION};
use serde_json::{Value, json};
use support::app::Answer;
use support::people::{ADA, BEN, CEM};
use support::{System, Visit, store};
use url::Url;

/// How many codes Zoom was asked to exchange, whatever it answered.
pub(crate) fn exchanges(system: &System) -> usize {
    let requests = system.zoom().requests();
    requests
        .iter()
        .filter(|request| request.detail.as_deref() == Some("exchange"))
        .count()
}

/// Puts a new version of a secret: the one before it becomes AWSPREVIOUS.
pub(crate) async fn rotate(system: &System, variable: &str, value: &str) {
    let function = system.stack.function_environment("oauth-start").unwrap();
    let id = function.variables.required(variable).unwrap();
    let secrets = system.stack.sdk().secretsmanager();
    secrets
        .put_secret_value()
        .secret_id(id)
        .secret_string(value)
        .send()
        .await
        .unwrap();
}

/// A parameter of any address.
pub(crate) fn parameter(url: &str, name: &str) -> String {
    let url = Url::parse(url).unwrap();
    let found = url.query_pairs().find(|(key, _)| key == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {url}"))
        .1
        .into_owned()
}

/// An address with another value for one of its parameters.
pub(crate) fn with_parameter(url: &str, name: &str, value: &str) -> String {
    let mut changed = Url::parse(url).unwrap();
    let old = Url::parse(url).unwrap();
    let others = old.query_pairs().filter(|(key, _)| key != name);
    changed
        .query_pairs_mut()
        .clear()
        .extend_pairs(others)
        .append_pair(name, value);
    changed.into()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test]
async fn a_user_links_zoom_and_the_app_confirms() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    assert_eq!(
        keys(&link),
        BTreeSet::from(["activated_at", "created_at", "id", "status", "zoom"])
    );
    assert_eq!(link["status"], "active");
    assert_eq!(
        link["zoom"],
        json!({"account_id": "Acct_Northwind00000001", "user_id": ADA, "display_name": "Ada Berg"})
    );
    assert_eq!(system.app.links("alice").await, [link]);
}

#[tokio::test]
async fn the_redirect_to_zoom_says_exactly_what_the_contract_lists() {
    let system = System::start().await;
    let mut browser = system.browser();
    let token = system.app.connect_token("alice");
    let authorize = Url::parse(&system.authorize(&mut browser, &token).await).unwrap();
    let zoom = system.zoom().url();
    assert_eq!(
        (authorize.origin(), authorize.path()),
        (zoom.origin(), "/oauth/authorize")
    );

    let pairs: Vec<_> = authorize.query_pairs().into_owned().collect();
    let query: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(pairs.len(), query.len(), "a parameter is repeated");
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
    assert_eq!(
        query["client_id"],
        system.stack.config().secrets.zoom_client_id
    );
    assert_eq!(
        query["redirect_uri"],
        format!("{}/zoom/callback", system.stack.url())
    );
    assert_eq!(query["code_challenge_method"], "S256");
    assert_eq!(
        URL_SAFE_NO_PAD
            .decode(&query["code_challenge"])
            .unwrap()
            .len(),
        32
    );
    // Version, nonce, expiry, MAC; nothing that tells of the user.
    assert_eq!(
        URL_SAFE_NO_PAD.decode(&query["state"]).unwrap().len(),
        1 + 16 + 8 + 32
    );

    let again = system.authorize(&mut browser, &token).await;
    for name in ["state", "code_challenge"] {
        assert_ne!(parameter(&again, name), query[name], "{name} is used twice");
    }
}

#[tokio::test]
async fn the_redirect_uri_is_the_gateways_own_word_and_no_header_of_the_caller() {
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
    assert_eq!(
        parameter(authorize, "redirect_uri"),
        format!("https://{domain}/zoom/callback")
    );
}

#[tokio::test]
async fn the_cookie_is_secure_host_only_and_lives_ten_minutes() {
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
        BTreeSet::from([
            "HttpOnly",
            "Max-Age=600",
            "Path=/",
            "SameSite=Lax",
            "Secure"
        ])
    );

    let another = system.browser().visit(&url).await.set_cookie.unwrap();
    assert!(!another.contains(value), "two browsers share a secret");
}

#[tokio::test]
async fn every_answer_forbids_caching_and_passing_its_address_on() {
    let system = System::start().await;
    let mut browser = system.browser();
    let url = |path: &str| format!("{}{path}", system.stack.url());
    let back = system.callback(&mut browser, "alice", ADA).await;
    let connect = system.app.connect_url(&system.app.connect_token("alice"));
    let visits: [(&str, u16, Visit); 5] = [
        ("to zoom", 302, browser.visit(&connect).await),
        (
            "connect refused",
            400,
            browser.visit(&url("/zoom/connect")).await,
        ),
        ("back to the app", 302, browser.visit(&back).await),
        ("callback refused", 400, browser.visit(&back).await),
        ("health", 200, browser.visit(&url("/healthz")).await),
    ];
    let answers: [(&str, u16, Answer); 5] = [
        ("links", 200, system.app.get("/v1/links", "alice").await),
        (
            "no token",
            401,
            system
                .app
                .call_with(reqwest::Method::GET, "/v1/links", None, None)
                .await,
        ),
        (
            "no route",
            404,
            system.app.get("/v1/nowhere", "alice").await,
        ),
        (
            "no method",
            405,
            system
                .app
                .call(reqwest::Method::PUT, "/v1/links", "alice")
                .await,
        ),
        (
            "no claim",
            410,
            system.app.confirm("alice", "unknown").await,
        ),
    ];
    let check = |what: &str, expected: u16, status: u16, headers: &HeaderMap| {
        assert_eq!(status, expected, "{what}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{what}");
        assert_eq!(headers["cache-control"], "no-store", "{what}");
    };
    visits
        .iter()
        .for_each(|(what, expected, visit)| check(what, *expected, visit.status, &visit.headers));
    answers.iter().for_each(|(what, expected, answer)| {
        check(what, *expected, answer.status, &answer.headers)
    });
}

#[tokio::test]
async fn two_tabs_of_one_browser_do_not_break_each_other() {
    let system = System::start().await;
    let mut browser = system.browser();
    let first = system.callback(&mut browser, "alice", ADA).await;
    let cookie = browser.cookie.clone();
    let second = system.callback(&mut browser, "alice", BEN).await;
    assert_eq!(
        browser.cookie, cookie,
        "the second tab took the first one's cookie away"
    );
    // The one that began last comes back first.
    for back in [second, first] {
        let claim = browser.visit(&back).await.claim();
        assert_eq!(system.app.confirm("alice", &claim).await.status, 200);
    }
    assert_eq!(system.app.links("alice").await.len(), 2);
}

#[tokio::test]
async fn a_cookie_that_is_none_of_ours_is_replaced() {
    let system = System::start().await;
    let url = system.app.connect_url(&system.app.connect_token("alice"));
    let good = URL_SAFE_NO_PAD.encode([7; 32]);
    let name = "__Host-reelay-connect";
    let mut browser = system.browser();
    for odd in [
        format!("{name}="),
        format!("{name}={}", &good[1..]),
        format!("{name}={good}A"),
        format!("{name}={good}="),
        format!("{name}=<script>"),
        format!("reelay-connect={good}"),
        // Which of the two is ours can't be told.
        format!("{name}={good}; {name}={}", URL_SAFE_NO_PAD.encode([8; 32])),
    ] {
        browser.cookie = Some(odd.clone());
        let set = browser.visit(&url).await.set_cookie.unwrap();
        assert!(!set.contains(&good[1..]), "{odd} was kept: {set}");
    }
    browser.cookie = Some(format!("{name}={good}"));
    assert!(
        browser
            .visit(&url)
            .await
            .set_cookie
            .unwrap()
            .contains(&good)
    );
}

#[tokio::test]
async fn the_browser_returns_to_the_first_listed_url_or_to_the_listed_one_that_was_asked_for() {
    let listed = "https://app.example.test/settings?tab=zoom, https://app.example.test/team";
    let system = System::with(&[("ReturnUrls", listed)]).await;
    let team = "https://app.example.test/team";
    for (return_to, base, query) in [
        (
            None,
            "https://app.example.test/settings",
            vec![("tab", "zoom")],
        ),
        (Some(team.to_owned()), team, vec![]),
        (
            Some("HTTPS://APP.example.test:443/team".to_owned()),
            team,
            vec![],
        ),
        (
            Some(format!("{team}?id=7&name=a%26b%20%C3%A9&id=8")),
            team,
            vec![("id", "7"), ("name", "a&b é"), ("id", "8")],
        ),
        // What only we may say is taken out, however it is written.
        (
            Some(format!(
                "{team}?zoom_link=forged&a=1&zoom_error=none&zoom%5Flink=again"
            )),
            team,
            vec![("a", "1")],
        ),
        (Some(format!("{team}?zoom_link=forged")), team, vec![]),
    ] {
        let more = return_to
            .as_ref()
            .map_or(json!({}), |url| json!({"return_to": url}));
        let token = system.app.connect_token_with("alice", more);

        let mut browser = system.browser();
        let authorize = system.authorize(&mut browser, &token).await;
        let back = system.allow(&mut browser, &authorize, ADA).await;
        let linked = browser.visit(&back).await;
        let authorize = system.authorize(&mut browser, &token).await;
        let back = system.deny(&mut browser, &authorize).await;
        let denied = browser.visit(&back).await;

        let claim = linked.claim();
        for (visit, ours) in [
            (&linked, ("zoom_link", claim.as_str())),
            (&denied, ("zoom_error", "access_denied")),
        ] {
            let location = Url::parse(visit.location.as_ref().unwrap()).unwrap();
            let mut without_query = location.clone();
            without_query.set_query(None);
            assert_eq!(without_query.as_str(), base, "{return_to:?}");
            let pairs: Vec<_> = location.query_pairs().into_owned().collect();
            let expected: Vec<_> = query
                .iter()
                .chain([&ours])
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect();
            assert_eq!(pairs, expected, "{return_to:?}");
        }
    }
}

#[tokio::test]
async fn the_query_of_return_to_is_kept_as_the_app_wrote_it() {
    let listed = "https://app.example.test/back";
    let system = System::with(&[("ReturnUrls", listed)]).await;
    let query = "flag&name=a%20b&path=/x/y&list=1,2&bytes=%FF&plus=a+b";
    for (asked, kept) in [
        (format!("{listed}?{query}"), format!("{listed}?{query}&")),
        (
            format!("{listed}?zoom_link=forged&{query}&zoom_error"),
            format!("{listed}?{query}&"),
        ),
    ] {
        let token = system
            .app
            .connect_token_with("alice", json!({"return_to": asked}));
        let mut browser = system.browser();
        let authorize = system.authorize(&mut browser, &token).await;
        let back = system.deny(&mut browser, &authorize).await;
        let location = browser.visit(&back).await.location.unwrap();
        assert_eq!(location, format!("{kept}zoom_error=access_denied"));
    }
}

#[tokio::test]
async fn linking_again_finds_the_same_link_which_stays_active_meanwhile() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    system.stack.advance(SignedDuration::from_mins(60));
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    assert_eq!(
        system.app.links("alice").await,
        std::slice::from_ref(&link),
        "a new consent took the link away"
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
    let ids: BTreeSet<_> = [&alice_ada, &bob_ada, &alice_cem]
        .map(|link| link["id"].to_string())
        .into();
    assert_eq!(ids.len(), 3, "two links share an id");

    let by_id = |links: Vec<Value>| -> BTreeMap<String, Value> {
        links
            .into_iter()
            .map(|link| (link["id"].to_string(), link))
            .collect()
    };
    assert_eq!(
        by_id(system.app.links("alice").await),
        by_id(vec![alice_ada, alice_cem])
    );
    assert_eq!(system.app.links("bob").await, [bob_ada]);
    assert!(system.app.links("carol").await.is_empty());
}

#[tokio::test]
async fn opening_the_link_spends_nothing_and_the_jti_is_spent_when_the_link_becomes_active() {
    let system = System::start().await;
    let token = system
        .app
        .connect_token_with("alice", json!({"jti": "one"}));
    // A preview of the link, by somebody else's server.
    system.authorize(&mut system.browser(), &token).await;

    let mut browser = system.browser();
    let authorize = system.authorize(&mut browser, &token).await;
    let back = system.allow(&mut browser, &authorize, ADA).await;
    let claim = browser.visit(&back).await.claim();
    system.authorize(&mut browser, &token).await;
    assert_eq!(system.app.confirm("alice", &claim).await.status, 200);

    let spent = browser.visit(&system.app.connect_url(&token)).await;
    assert_eq!(spent.page(), "connect_token_spent");
    // A jti is the app's affair with each of its users: what alice spent is still bob's.
    let bobs = system.app.connect_token_with("bob", json!({"jti": "one"}));
    system.authorize(&mut browser, &bobs).await;
}

#[tokio::test]
async fn the_right_user_may_repeat_a_claim_and_gets_the_same_answer_until_it_expires() {
    let system = System::start().await;
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    // The very two answers at the same time, too.
    let (first, second) = tokio::join!(
        system.app.confirm("alice", &claim),
        system.app.confirm("alice", &claim)
    );
    assert_eq!((first.status, &first.body), (200, &second.body));

    system.stack.advance(SignedDuration::from_secs(590));
    let late = system.app.confirm("alice", &claim).await;
    assert_eq!((late.status, &late.body), (200, &first.body));

    system.stack.advance(SignedDuration::from_secs(10));
    assert_eq!(
        system.app.confirm("alice", &claim).await.code(),
        "claim_expired"
    );
    assert_eq!(
        system.app.links("alice").await,
        [first.json()],
        "the link does not end with its claim"
    );
}

#[tokio::test]
async fn a_user_may_take_nearly_ten_minutes_at_zoom() {
    let system = System::start().await;
    let mut browser = system.browser();
    let authorize = system
        .authorize(&mut browser, &system.app.connect_token("alice"))
        .await;
    system.stack.advance(SignedDuration::from_secs(590));
    let back = system.allow(&mut browser, &authorize, ADA).await;
    let claim = browser.visit(&back).await.claim();
    assert_eq!(system.app.confirm("alice", &claim).await.status, 200);
}

#[tokio::test]
async fn an_install_from_the_marketplace_begins_anew_and_its_code_is_never_exchanged() {
    let install_url = "https://app.example.test/install?from=zoom";
    let with = System::with(&[("InstallUrl", install_url)]).await;
    let without = System::start().await;
    for system in [&with, &without] {
        let mut browser = system.browser();
        // A code that Zoom would honour, as there is no challenge in it.
        let authorize = system.zoom().url().join("oauth/authorize").unwrap();
        let client_id = &system.stack.config().secrets.zoom_client_id;
        let redirect_uri = format!("{}/zoom/callback", system.stack.url());
        let query = format!(
            "{authorize}?response_type=code&client_id={client_id}&redirect_uri={redirect_uri}"
        );
        let back = system.allow(&mut browser, &query, ADA).await;
        // Also in a browser that is in the middle of a flow of its own.
        system
            .authorize(&mut browser, &system.app.connect_token("alice"))
            .await;
        for visit in [
            system.browser().visit(&back).await,
            browser.visit(&back).await,
        ] {
            if std::ptr::eq(system, &raw const with) {
                assert_eq!(
                    (visit.status, visit.location.as_deref()),
                    (302, Some(install_url))
                );
                assert_eq!(visit.set_cookie, None);
            } else {
                assert_eq!(visit.page(), "install_restart");
            }
        }
        assert_eq!(exchanges(system), 0);
        assert!(system.zoom().grants().is_empty());
    }
}

#[tokio::test]
async fn neither_tokens_nor_what_a_browser_carries_rest_in_the_clear() {
    let system = System::start().await;
    let mut browser = system.browser();
    let token = system
        .app
        .connect_token_with("alice", json!({"jti": "a-jti-to-look-for"}));
    let authorize = system.authorize(&mut browser, &token).await;
    let back = system.allow(&mut browser, &authorize, ADA).await;
    let tables = &system.stack.config().tables;
    let both = async || {
        [
            store::items(&system.stack, &tables.sessions).await,
            store::items(&system.stack, &tables.links).await,
        ]
        .concat()
        .join("\n")
    };

    let during = both().await;
    let claim = browser.visit(&back).await.claim();
    let after = both().await;
    assert_eq!(system.app.confirm("alice", &claim).await.status, 200);
    let confirmed = both().await;
    assert!(during.contains("session#") && after.contains("claim#") && confirmed.contains("jti#"));

    let grant = system.zoom().live_grant(ADA).unwrap();
    let state = parameter(&authorize, "state");
    let (_, cookie) = browser.cookie.as_deref().unwrap().split_once('=').unwrap();
    let nonce = URL_SAFE_NO_PAD.encode(&URL_SAFE_NO_PAD.decode(&state).unwrap()[1..17]);
    for (what, secret) in [
        ("access token", grant.access_token.as_str()),
        ("refresh token", &grant.refresh_token),
        ("code", &parameter(&back, "code")),
        ("state", &state),
        ("nonce", &nonce),
        ("cookie", cookie),
        ("claim", &claim),
        ("connect token", &token),
        ("jti", "a-jti-to-look-for"),
    ] {
        for (when, text) in [
            ("during", &during),
            ("after", &after),
            ("confirmed", &confirmed),
        ] {
            assert!(
                !text.contains(secret),
                "{what} in the clear, {when} the flow"
            );
        }
    }
}

#[tokio::test]
async fn a_flow_begun_before_the_state_key_turns_over_completes_after_it() {
    let system = System::start().await;
    let mut browser = system.browser();
    let begun = system.callback(&mut browser, "alice", ADA).await;
    let begun_too = system.callback(&mut browser, "alice", BEN).await;
    rotate(&system, "STATE_KEY", &"n".repeat(44)).await;
    // The callback reads both versions, and finds state and verifier under the previous one.
    browser.visit(&begun).await.claim();

    // Five minutes on, oauth-start signs with a newer key than the callback has read.
    rotate(&system, "STATE_KEY", &"o".repeat(44)).await;
    system.stack.advance(SignedDuration::from_secs(301));
    let renewed = system.callback(&mut browser, "alice", CEM).await;
    browser.visit(&renewed).await.claim();
    // What was signed two keys ago is no longer ours.
    assert_eq!(browser.visit(&begun_too).await.page(), "state_invalid");
}

#[tokio::test]
async fn a_state_under_a_key_newer_than_the_callback_knows_makes_it_read_the_key_again() {
    let system = System::start().await;
    let mut browser = system.browser();
    // Each function keeps the key for five minutes after it read it: oauth-start reads now, and
    // oauth-callback 200 seconds later.
    let token = system.app.connect_token("alice");
    let authorize = system.authorize(&mut browser, &token).await;
    system.stack.advance(SignedDuration::from_secs(200));
    let back = system.allow(&mut browser, &authorize, ADA).await;
    browser.visit(&back).await.claim();

    rotate(&system, "STATE_KEY", &"n".repeat(44)).await;
    system.stack.advance(SignedDuration::from_secs(101));
    let newer = system.callback(&mut browser, "alice", BEN).await;
    browser.visit(&newer).await.claim();
}

#[tokio::test]
async fn tokens_and_flows_from_before_the_app_secret_turns_over_are_good_after_it() {
    let system = System::start().await;
    let app = &system.app;
    let mut browser = system.browser();
    let (connect, api) = (app.connect_token("alice"), app.api_token("alice"));
    let back = system.callback(&mut browser, "alice", ADA).await;
    assert!(app.links("alice").await.is_empty());

    let new = "n".repeat(44);
    rotate(&system, "APP_SECRET", &new).await;
    system.authorize(&mut browser, &connect).await;
    let claim = browser.visit(&back).await.claim();
    let body = json!({"claim": claim}).to_string();
    let confirmed = app
        .call_with(
            reqwest::Method::POST,
            "/v1/links/confirm",
            Some(&api),
            Some(body),
        )
        .await;
    assert_eq!(confirmed.status, 200, "{confirmed:?}");

    // The new secret is good at once: what does not verify makes the functions read it again.
    let hs256 = jsonwebtoken::Header::default();
    let new_api = app.sign_with(&app.claims("reelay:api", "alice"), &hs256, &new);
    let links = app
        .call_with(reqwest::Method::GET, "/v1/links", Some(&new_api), None)
        .await;
    assert_eq!(links.status, 200, "{links:?}");
    let new_connect = app.sign_with(&app.claims("reelay:connect", "alice"), &hs256, &new);
    system.authorize(&mut browser, &new_connect).await;
}
