//! Tokens that are not the app's own, or not for this.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};
use support::people::{ADA, BEN, CEM};
use support::{App, System, store};

/// A JWT with any header, whose third part is an HMAC-SHA256 over it.
fn jwt(header: &Value, claims: &Value, secret: &str) -> String {
    let text = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", text(header), text(claims));
    let tag = hex::decode(reelay_zoom_sim::hmac_hex(secret, &[signed.as_bytes()])).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// Claims with one of them changed; null takes it out.
fn changed(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    if claims[name].is_null() {
        claims.as_object_mut().unwrap().remove(name);
    }
    claims
}

/// Tokens that must open nothing, each with what is wrong about it. None is merely expired.
pub(crate) fn bad_tokens(
    app: &App,
    secret: &str,
    audience: &str,
    user: &str,
) -> Vec<(String, String)> {
    let claims = app.claims(audience, user);
    let good = app.sign(&claims);
    let parts: Vec<&str> = good.split('.').collect();
    let hs256 = json!({"alg": "HS256", "typ": "JWT"});
    let none = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "typ": "JWT"}).to_string());
    let own_key = json!({"kty": "oct", "alg": "HS256", "kid": "own", "k": URL_SAFE_NO_PAD.encode("attacker")});
    let (now, other) = (
        app.now().as_second(),
        changed(&claims, "sub", json!("mallory")),
    );
    let other_audience = if audience == "reelay:api" {
        "reelay:connect"
    } else {
        "reelay:api"
    };

    let mut tokens: Vec<(&str, String)> = vec![
        (
            "alg none without a signature",
            format!("{none}.{}.", parts[1]),
        ),
        (
            "alg none with the old signature",
            format!("{none}.{}.{}", parts[1], parts[2]),
        ),
        (
            "alg none with an HMAC",
            jwt(&json!({"alg": "none"}), &claims, secret),
        ),
        ("alg None", jwt(&json!({"alg": "None"}), &claims, secret)),
        (
            "RS256 header with an HMAC over it",
            jwt(&json!({"alg": "RS256"}), &claims, secret),
        ),
        (
            "ES256 header with an HMAC over it",
            jwt(&json!({"alg": "ES256"}), &claims, secret),
        ),
        (
            "HS512 by the app secret",
            app.sign_with(&claims, &Header::new(Algorithm::HS512), secret),
        ),
        ("no alg", jwt(&json!({"typ": "JWT"}), &claims, secret)),
        ("two algs", {
            let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","alg":"HS256"}"#);
            format!("{header}.{}.{}", parts[1], parts[2])
        }),
        ("another secret", jwt(&hs256, &claims, "attacker")),
        ("an empty secret", jwt(&hs256, &claims, "")),
        (
            "the secret's own prefix",
            jwt(&hs256, &claims, &secret[..secret.len() - 1]),
        ),
        (
            "a key that it brings along",
            jwt(
                &json!({"alg": "HS256", "kid": "own", "jwk": own_key}),
                &claims,
                "attacker",
            ),
        ),
        (
            "a key that it points to",
            jwt(
                &json!({"alg": "HS256", "jku": "https://evil.test/keys"}),
                &claims,
                "attacker",
            ),
        ),
        (
            "crit",
            jwt(&json!({"alg": "HS256", "crit": ["exp"]}), &claims, secret),
        ),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("half a signature", good[..good.len() - 20].to_owned()),
        ("another user under the old signature", {
            format!(
                "{}.{}.{}",
                parts[0],
                URL_SAFE_NO_PAD.encode(other.to_string()),
                parts[2]
            )
        }),
        ("nothing", String::new()),
        ("no JWT", "a.b.c".to_owned()),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("five parts", format!("{good}.a.b")),
        (
            "9 KiB",
            jwt(
                &hs256,
                &changed(&claims, "pad", json!("x".repeat(9000))),
                secret,
            ),
        ),
        (
            "claims that are no object",
            jwt(&hs256, &json!("claims"), secret),
        ),
    ];
    for (what, name, value) in [
        ("the other audience", "aud", json!(other_audience)),
        (
            "other audiences",
            "aud",
            json!([other_audience, "reelay", "reelay:"]),
        ),
        (
            "an audience in other letters",
            "aud",
            json!(audience.to_uppercase()),
        ),
        ("no audience", "aud", Value::Null),
        ("no iat", "iat", Value::Null),
        ("no exp", "exp", Value::Null),
        ("no sub", "sub", Value::Null),
        ("an empty sub", "sub", json!("")),
        ("a sub with a space", "sub", json!("alice b")),
        ("a sub with a #", "sub", json!("alice#grant")),
        ("a sub with a NUL", "sub", json!("alice\u{0}")),
        ("a sub beyond ASCII", "sub", json!("ålice")),
        ("a long sub", "sub", json!("a".repeat(129))),
        ("a sub that is a number", "sub", json!(7)),
        ("a life of more than 15 minutes", "exp", json!(now + 901)),
        ("no end in sight", "exp", json!(i64::MAX)),
        ("an exp before its iat", "exp", json!(now - 1)),
        ("an exp that is text", "exp", json!((now + 300).to_string())),
        ("an iat in the future", "iat", json!(now + 120)),
        ("a negative iat", "iat", json!(-1)),
        ("an nbf in the future", "nbf", json!(now + 120)),
        ("an empty jti", "jti", json!("")),
        ("a long jti", "jti", json!("j".repeat(257))),
    ] {
        tokens.push((what, app.sign(&changed(&claims, name, value))));
    }
    tokens
        .into_iter()
        .map(|(what, token)| (what.to_owned(), token))
        .collect()
}

/// Tokens that are good, at the very edges.
pub(crate) fn good_tokens(
    app: &App,
    secret: &str,
    audience: &str,
    user: &str,
) -> Vec<(&'static str, String)> {
    let claims = app.claims(audience, user);
    let now = app.now().as_second();
    let with = |iat: i64, exp: i64| {
        app.sign(&changed(
            &changed(&claims, "iat", json!(iat)),
            "exp",
            json!(exp),
        ))
    };
    let evil_jwk =
        json!({"alg": "HS256", "jku": "https://evil.test/keys", "x5u": "https://evil.test/x"});
    vec![
        (
            "made by hand",
            jwt(&json!({"alg": "HS256"}), &claims, secret),
        ),
        ("15 minutes", with(now, now + 900)),
        ("expired within the leeway", with(now - 300, now - 50)),
        ("issued within the leeway", with(now + 50, now + 300)),
        (
            "several audiences",
            app.sign(&changed(&claims, "aud", json!(["other", audience]))),
        ),
        (
            "pointers that nobody follows",
            jwt(&evil_jwk, &claims, secret),
        ),
        (
            "fractions",
            app.sign(&changed(&claims, "exp", json!(now as f64 + 300.5))),
        ),
    ]
}

#[tokio::test]
async fn a_connect_token_that_is_not_the_apps_own_and_for_this_purpose_is_refused() {
    let system = System::start().await;
    let (app, secret) = (
        &system.app,
        system.stack.config().secrets.app_secret.as_str(),
    );
    let mut browser = system.browser();
    for (what, token) in bad_tokens(app, secret, "reelay:connect", "alice") {
        let visit = browser.visit(&app.connect_url(&token)).await;
        assert_eq!(visit.page(), "connect_token_invalid", "{what}");
    }
    let url = format!("{}/zoom/connect", system.stack.url());
    let good = app.connect_token("alice");
    for query in [
        "",
        "?token",
        "?other=1",
        &format!("?token={good}&token={good}"),
        "?token=%FF",
        "?token=a%20b",
    ] {
        let visit = browser.visit(&format!("{url}{query}")).await;
        assert_eq!(visit.page(), "connect_token_invalid", "{query}");
    }
    let sessions = store::items(&system.stack, &system.stack.config().tables.sessions).await;
    assert!(sessions.is_empty(), "{sessions:?}");

    for (what, token) in good_tokens(app, secret, "reelay:connect", "alice") {
        let visit = browser.visit(&app.connect_url(&token)).await;
        assert_eq!(visit.status, 302, "{what}: {visit:?}");
    }
}

#[tokio::test]
async fn an_expired_connect_token_is_refused() {
    let system = System::start().await;
    let app = &system.app;
    let url = app.connect_url(&app.connect_token("alice"));
    // Five minutes, and the leeway of one.
    system.stack.advance(SignedDuration::from_secs(350));
    assert_eq!(system.browser().visit(&url).await.status, 302);
    system.stack.advance(SignedDuration::from_secs(10));
    assert_eq!(
        system.browser().visit(&url).await.page(),
        "connect_token_expired"
    );
    // Only whoever holds the secret is told that it would have been good.
    let (now, claims) = (app.now().as_second(), app.claims("reelay:connect", "alice"));
    let expired = changed(
        &changed(&claims, "iat", json!(now - 300)),
        "exp",
        json!(now - 100),
    );
    let forged = app.sign_with(&expired, &Header::new(Algorithm::HS256), "attacker");
    assert_eq!(
        system
            .browser()
            .visit(&app.connect_url(&forged))
            .await
            .page(),
        "connect_token_invalid"
    );
}

#[tokio::test]
async fn a_spent_jti_opens_nothing_and_makes_no_second_link() {
    let system = System::start().await;
    let mut browser = system.browser();
    let token = system
        .app
        .connect_token_with("alice", json!({"jti": "one"}));
    // Two flows from one token, to two Zoom users, both through Zoom before either is confirmed.
    let mut claims = Vec::new();
    for zoom_user in [ADA, BEN] {
        let authorize = system.authorize(&mut browser, &token).await;
        let back = system.allow(&mut browser, &authorize, zoom_user).await;
        claims.push(browser.visit(&back).await.claim());
    }
    let unfinished = system.authorize(&mut browser, &token).await;
    let first = system.app.confirm("alice", &claims[0]).await;
    assert_eq!(first.status, 200);
    let url = system.app.connect_url(&token);
    assert_eq!(browser.visit(&url).await.page(), "connect_token_spent");
    assert_eq!(
        system.app.confirm("alice", &claims[1]).await.code(),
        "claim_expired"
    );
    // Nor by a flow that was under way.
    let back = system.allow(&mut browser, &unfinished, CEM).await;
    let claim = browser.visit(&back).await.claim();
    assert_eq!(
        system.app.confirm("alice", &claim).await.code(),
        "claim_expired"
    );
    assert_eq!(
        system.app.confirm("alice", &claims[0]).await.body,
        first.body,
        "the claim that did it repeats"
    );
    assert_eq!(system.app.links("alice").await, [first.json()]);

    // Another name for the same thing: the same jti in a token that was signed anew.
    let again = system.app.connect_token_with(
        "alice",
        json!({"jti": "one", "exp": system.app.now().as_second() + 200}),
    );
    assert_eq!(
        browser.visit(&system.app.connect_url(&again)).await.page(),
        "connect_token_spent"
    );
}

#[tokio::test]
async fn of_two_claims_with_one_jti_at_once_one_makes_a_link() {
    let system = System::start().await;
    let mut browser = system.browser();
    let token = system
        .app
        .connect_token_with("alice", json!({"jti": "one"}));
    let mut claims = Vec::new();
    for zoom_user in [ADA, BEN] {
        let authorize = system.authorize(&mut browser, &token).await;
        let back = system.allow(&mut browser, &authorize, zoom_user).await;
        claims.push(browser.visit(&back).await.claim());
    }
    let (one, two) = tokio::join!(
        system.app.confirm("alice", &claims[0]),
        system.app.confirm("alice", &claims[1])
    );
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 410], "{one:?} {two:?}");
    assert_eq!(system.app.links("alice").await.len(), 1);
}
