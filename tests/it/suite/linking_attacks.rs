//! Linking, under attack and when Zoom fails: what is refused, how, and that it changes nothing.

use aws::links::LinkTable;
use aws::vault::{TokenOwner, Vault};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use domain::ids::ZoomUser;
use domain::keys::Versions;
use domain::signed_state::{self, Nonce};
use embedded_aws::Service;
use it::people::{ADA, BEN, CEM};
use it::{App, Browser, System, store};
use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, Header};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use zoom_sim::{Fault, NewFault, NewFile, NewRecording, Point};

use crate::linking::{exchanges, parameter, with_parameter};

/// A recording of this Zoom user completes, and all that follows from it comes to its end.
async fn record(system: &System, zoom_user: &str) {
    let new = NewRecording::of(zoom_user).with_files(vec![NewFile::new("CHAT", 200)]);
    system.zoom().create_recording(new).unwrap();
    system.zoom().settled().await;
    system.work().await;
}

/// What a recording leaves behind anywhere.
async fn traces_of_recordings(system: &System) -> usize {
    let items = store::items(&system.stack, &system.stack.config().tables.recordings).await;
    items.len() + store::objects(&system.stack, "").await.len()
}

/// Nothing was exchanged, nothing was stored: as if nobody had been here.
async fn assert_untouched(system: &System) {
    assert_eq!(exchanges(system), 0, "a code was exchanged");
    let links = store::items(&system.stack, &system.stack.config().tables.links).await;
    assert!(links.is_empty(), "{links:?}");
}

/// The right browser still completes: the session was not spent.
async fn assert_completes(system: &System, browser: &mut Browser, back: &str, app_user: &str) {
    let claim = browser.visit(back).await.claim();
    assert_eq!(system.app.confirm(app_user, &claim).await.status, 200);
}

// ------------------------------------------------------------------------------------------- state

#[tokio::test]
async fn a_state_altered_anywhere_is_refused() {
    let system = System::start().await;
    let mut browser = system.browser();
    let back = system.callback(&mut browser, "alice", ADA).await;
    let state = parameter(&back, "state");
    let altered = (0..state.len()).map(|at| {
        let mut bytes = state.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    });
    let bytes = URL_SAFE_NO_PAD.decode(&state).unwrap();
    let mangled = [
        state[..75].to_owned(),
        state[..72].to_owned(),
        format!("{state}A"),
        format!("{state}AAAA"),
        format!("{state}="),
        format!("{state} "),
        format!("{state}\0"),
        format!("{state}{state}"),
        // The same 57 bytes and one more, so that the alphabet or the padding shows.
        STANDARD.encode([&bytes[..], &[255]].concat()),
        state.to_uppercase(),
        "A".repeat(76),
        "x".to_owned(),
        "é".repeat(38),
        "A".repeat(9000),
    ];
    for state in altered.chain(mangled) {
        let visit = browser.visit(&with_parameter(&back, "state", &state)).await;
        assert_eq!(visit.page(), "state_invalid", "{state}");
    }
    assert_untouched(&system).await;
    assert_completes(&system, &mut browser, &back, "alice").await;
}

#[tokio::test]
async fn a_state_signed_by_an_unknown_key_is_refused() {
    let system = System::start().await;
    let mut browser = system.browser();
    let back = system.callback(&mut browser, "alice", ADA).await;
    // The attacker even knows the nonce.
    let nonce: [u8; 16] = URL_SAFE_NO_PAD.decode(parameter(&back, "state")).unwrap()[1..17]
        .try_into()
        .unwrap();
    for key in ["attacker", "", &system.stack.config().secrets.app_secret] {
        let state = signed_state::sign(
            &Versions::only(key),
            &Nonce::from_random(nonce),
            system.app.now(),
        );
        let visit = browser.visit(&with_parameter(&back, "state", &state)).await;
        assert_eq!(visit.page(), "state_invalid");
    }
    assert_untouched(&system).await;
    assert_completes(&system, &mut browser, &back, "alice").await;
}

#[tokio::test]
async fn a_good_mac_over_a_session_that_never_was_opens_nothing() {
    let system = System::start().await;
    let mut browser = system.browser();
    let back = system.callback(&mut browser, "alice", ADA).await;
    let function = system.stack.function_environment("oauth-callback").unwrap();
    let id = function.variables.required("STATE_KEY").unwrap();
    let key = system
        .stack
        .sdk()
        .secretsmanager()
        .get_secret_value()
        .secret_id(id)
        .send()
        .await
        .unwrap();
    let keys = Versions::only(key.secret_string.unwrap());
    let state = signed_state::sign(&keys, &Nonce::from_random([7; 16]), system.app.now());
    let visit = browser.visit(&with_parameter(&back, "state", &state)).await;
    assert_eq!(visit.page(), "session_spent");
    assert_untouched(&system).await;
}

#[tokio::test]
async fn an_expired_state_is_refused() {
    let system = System::start().await;
    let mut browser = system.browser();
    let authorize = system
        .authorize(&mut browser, &system.app.connect_token("alice"))
        .await;
    system.stack.advance(SignedDuration::from_mins(10));
    // Zoom's code is fresh, for the user took the time before consenting.
    let back = system.allow(&mut browser, &authorize, ADA).await;
    assert_eq!(browser.visit(&back).await.page(), "session_expired");
    // Whether it expired is not told to whoever did not sign it.
    let forged = with_parameter(
        &back,
        "state",
        &parameter(&back, "state").replace(['a', 'b'], "c"),
    );
    assert_eq!(browser.visit(&forged).await.page(), "state_invalid");
    assert_untouched(&system).await;
}

#[tokio::test]
async fn a_replayed_state_is_refused() {
    let system = System::start().await;
    let mut browser = system.browser();
    let back = system.callback(&mut browser, "alice", ADA).await;
    let claim = browser.visit(&back).await.claim();
    assert_eq!(browser.visit(&back).await.page(), "session_spent");
    // With a code that Zoom would honour, and as somebody else.
    let fresh = system.callback(&mut browser, "alice", BEN).await;
    let code = parameter(&fresh, "code");
    assert_eq!(
        browser
            .visit(&with_parameter(&back, "code", &code))
            .await
            .page(),
        "session_spent"
    );
    assert_eq!(system.browser().visit(&back).await.page(), "session_spent");
    assert_eq!(exchanges(&system), 1);
    assert_eq!(
        system.app.confirm("alice", &claim).await.status,
        200,
        "a replay takes nothing away"
    );
}

#[tokio::test]
async fn of_two_callbacks_at_once_one_gets_the_session() {
    let system = System::start().await;
    let mut browser = system.browser();
    let back = system.callback(&mut browser, "alice", ADA).await;
    let (mut one, mut two) = (browser.clone(), browser.clone());
    let (first, second) = tokio::join!(one.visit(&back), two.visit(&back));
    let (won, lost) = if first.status == 302 {
        (first, second)
    } else {
        (second, first)
    };
    assert_eq!(lost.page(), "session_spent");
    assert_eq!(system.app.confirm("alice", &won.claim()).await.status, 200);
    assert_eq!(exchanges(&system), 1);
}

#[tokio::test]
async fn a_callback_from_another_browser_is_refused_and_spends_nothing() {
    let system = System::start().await;
    let mut browser = system.browser();
    let back = system.callback(&mut browser, "alice", ADA).await;
    let name = "__Host-reelay-connect";
    let (good, other) = (
        browser.cookie.clone().unwrap(),
        URL_SAFE_NO_PAD.encode([7; 32]),
    );
    let mut stranger = system.browser();
    for cookie in [
        None,
        Some(format!("{name}=")),
        Some(format!("{name}=-")),
        Some(format!("{name}={other}")),
        Some(format!("{name}=\"{}\"", good.split_once('=').unwrap().1)),
        Some(good.to_lowercase()),
        Some(good.replace("__Host-", "")),
        // The right one beside another one: somebody planted one of them.
        Some(format!("{good}; {name}={other}")),
        Some(format!("{name}={other}; {good}")),
    ] {
        stranger.cookie = cookie.clone();
        assert_eq!(
            stranger.visit(&back).await.page(),
            "wrong_browser",
            "{cookie:?}"
        );
    }
    assert_untouched(&system).await;
    assert_completes(&system, &mut browser, &back, "alice").await;
}

#[tokio::test]
async fn a_callback_for_someone_elses_session_is_refused_both_ways() {
    let system = System::start().await;
    let (mut alice, mut mallory) = (system.browser(), system.browser());
    let alices = system.callback(&mut alice, "alice", ADA).await;
    let mallorys = system.callback(&mut mallory, "mallory", CEM).await;
    assert_eq!(mallory.visit(&alices).await.page(), "wrong_browser");
    // The other way round, mallory's Zoom would end up with alice.
    assert_eq!(alice.visit(&mallorys).await.page(), "wrong_browser");
    assert_untouched(&system).await;
    assert_completes(&system, &mut alice, &alices, "alice").await;
    assert_completes(&system, &mut mallory, &mallorys, "mallory").await;
}

#[tokio::test]
async fn a_code_from_another_flow_is_worthless_without_its_verifier() {
    let system = System::start().await;
    let (mut alice, mut mallory) = (system.browser(), system.browser());
    let alices = system.callback(&mut alice, "alice", ADA).await;
    let mallorys = system.callback(&mut mallory, "mallory", CEM).await;
    // Mallory got hold of alice's code, and hands it in under a session of her own.
    let stolen = with_parameter(&mallorys, "code", &parameter(&alices, "code"));
    assert_eq!(
        mallory.visit(&stolen).await.zoom_error(),
        "zoom_rejected_code"
    );
    assert!(system.zoom().grants().is_empty());
    assert_completes(&system, &mut alice, &alices, "alice").await;
    assert!(system.app.links("mallory").await.is_empty());
}

#[tokio::test]
async fn a_callback_with_repeated_parameters_or_nothing_to_read_is_refused() {
    let system = System::start().await;
    let mut browser = system.browser();
    let back = system.callback(&mut browser, "alice", ADA).await;
    let (code, state) = (parameter(&back, "code"), parameter(&back, "state"));
    let path = format!("{}/zoom/callback", system.stack.url());
    for query in [
        String::new(),
        "?".to_owned(),
        "?a=1".to_owned(),
        "?code".to_owned(),
        "?code=&state=".to_owned(),
        format!("?state={state}"),
        format!("?code=&state={state}"),
        format!("?code={code}&state={state}&state={state}"),
        format!("?code={code}&state={state}&state="),
        format!("?code={code}&st%61te={state}&state={state}"),
        format!("?code={code}&code={code}&state={state}"),
        format!("?code=stolen&state={state}&code={code}"),
        format!("?error=access_denied&error=x&state={state}"),
        format!("?error=access_denied&state={state}&state=x"),
        format!("?error=access_denied&state={state}&code={code}&code={code}"),
        format!("?code={code}&state=%FF%FE"),
        format!("?code={code}&state=%"),
        // As one parameter: what API Gateway makes of two.
        format!("?code={code}&state={state},{state}"),
    ] {
        let visit = browser.visit(&format!("{path}{query}")).await;
        assert_eq!(visit.page(), "state_invalid", "{query}");
    }
    assert_untouched(&system).await;
    assert_completes(&system, &mut browser, &back, "alice").await;
}

#[tokio::test]
async fn a_refusal_at_zoom_spends_the_session_and_goes_back_to_the_app() {
    let system = System::start().await;
    let mut browser = system.browser();
    let authorize = system
        .authorize(&mut browser, &system.app.connect_token("alice"))
        .await;
    let allowed = system.allow(&mut browser, &authorize, ADA).await;
    let denied = system.deny(&mut browser, &authorize).await;
    assert_eq!(browser.visit(&denied).await.zoom_error(), "access_denied");
    assert_eq!(
        browser.visit(&denied).await.page(),
        "access_denied",
        "there is no session any more"
    );
    assert_eq!(browser.visit(&allowed).await.page(), "session_spent");
    assert_untouched(&system).await;
}

#[tokio::test]
async fn a_refusal_without_a_good_state_and_cookie_is_a_page_and_spends_nothing() {
    let system = System::start().await;
    let mut browser = system.browser();
    let authorize = system
        .authorize(&mut browser, &system.app.connect_token("alice"))
        .await;
    let back = system.allow(&mut browser, &authorize, ADA).await;
    let denied = system.deny(&mut browser, &authorize).await;
    let url = format!("{}/zoom/callback", system.stack.url());
    let forged = with_parameter(&denied, "state", &"A".repeat(76));
    let reflected =
        format!("{url}?error=%3Cscript%3Ealert(1)%3C/script%3E&error_description=%3Cscript%3E");
    // The victim's browser with a bad state or none, and the attacker's with the good one.
    for address in [format!("{url}?error=access_denied"), forged, reflected] {
        let visit = browser.visit(&address).await;
        assert_eq!(visit.page(), "access_denied", "{address}");
        assert!(
            !visit.body.contains("script"),
            "the page repeats what it was sent"
        );
    }
    assert_eq!(
        system.browser().visit(&denied).await.page(),
        "access_denied"
    );
    assert_completes(&system, &mut browser, &back, "alice").await;

    let authorize = system
        .authorize(&mut browser, &system.app.connect_token("alice"))
        .await;
    let late = system.deny(&mut browser, &authorize).await;
    system.stack.advance(SignedDuration::from_mins(10));
    assert_eq!(browser.visit(&late).await.page(), "access_denied");
}

// ----------------------------------------------------------------------------------------- tokens

/// A JWT with any header, whose third part is an HMAC-SHA256 over it.
fn jwt(header: &Value, claims: &Value, secret: &str) -> String {
    let text = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", text(header), text(claims));
    let tag = hex::decode(zoom_sim::hmac_hex(secret, &[signed.as_bytes()])).unwrap();
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

// ----------------------------------------------------------------------------------------- claims

#[tokio::test]
async fn a_claim_confirmed_as_another_user_is_refused_and_burnt() {
    let system = System::start().await;
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    assert_eq!(
        system.app.confirm("mallory", &claim).await.code(),
        "claim_belongs_to_another_user"
    );
    assert_eq!(
        system.app.confirm("alice", &claim).await.code(),
        "claim_expired",
        "it is not burnt"
    );
    assert_eq!(
        system.app.confirm("mallory", &claim).await.code(),
        "claim_expired"
    );
    for user in ["alice", "mallory"] {
        assert!(system.app.links(user).await.is_empty(), "{user}");
    }
    // Alice connects again, and that works.
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    let link = system.app.confirm("alice", &claim).await;
    assert_eq!(link.status, 200);
    // Afterwards it is as worthless to mallory, and alice's link does not go with the claim.
    assert_eq!(
        system.app.confirm("mallory", &claim).await.code(),
        "claim_belongs_to_another_user"
    );
    assert_eq!(
        system.app.confirm("alice", &claim).await.code(),
        "claim_expired"
    );
    assert_eq!(system.app.links("alice").await, [link.json()]);
    assert!(system.app.links("mallory").await.is_empty());
}

#[tokio::test]
async fn an_expired_or_unknown_claim_is_refused() {
    let system = System::start().await;
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    let random = URL_SAFE_NO_PAD.encode([7; 32]);
    for unknown in [
        random.as_str(),
        "",
        "x",
        &format!("{claim}="),
        &claim[..42],
        &claim.to_lowercase(),
        "é",
        "\0",
    ] {
        assert_eq!(
            system.app.confirm("alice", unknown).await.code(),
            "claim_expired",
            "{unknown}"
        );
    }
    system.stack.advance(SignedDuration::from_mins(10));
    assert_eq!(
        system.app.confirm("alice", &claim).await.code(),
        "claim_expired"
    );
    assert_eq!(
        system.app.confirm("mallory", &claim).await.code(),
        "claim_expired",
        "it tells whose it was"
    );
    assert!(system.app.links("alice").await.is_empty());
}

#[tokio::test]
async fn a_victim_who_follows_the_attackers_connect_link_gives_nothing_away() {
    let system = System::start().await;
    // Mallory has the app make her a link, and sends it to ada, who consents and is signed in as alice.
    let token = system
        .app
        .connect_token_with("mallory", json!({"jti": "bait"}));
    let mut victim = system.browser();
    let authorize = system.authorize(&mut victim, &token).await;
    let back = system.allow(&mut victim, &authorize, ADA).await;
    let claim = victim.visit(&back).await.claim();

    // Meanwhile, and ever after, there is nothing to see for mallory.
    let learns_nothing = async || {
        record(&system, ADA).await;
        assert_eq!(traces_of_recordings(&system).await, 0);
        assert!(system.app.links("mallory").await.is_empty());
        assert!(system.app.recordings("mallory").await.is_empty());
        assert!(
            system.stack.demo_app().unwrap().received().is_empty(),
            "the app is told"
        );
    };
    learns_nothing().await;
    // The app confirms what came back in the session in which it came back.
    assert_eq!(
        system.app.confirm("alice", &claim).await.code(),
        "claim_belongs_to_another_user"
    );
    assert_eq!(
        system.app.confirm("mallory", &claim).await.code(),
        "claim_expired"
    );
    assert!(system.app.links("alice").await.is_empty());
    learns_nothing().await;
    // Mallory, in her own browser, has no session that the victim's consent would serve.
    assert_eq!(system.browser().visit(&back).await.page(), "session_spent");
}

#[tokio::test]
async fn a_victim_who_is_sent_the_attackers_consent_page_or_callback_links_nothing() {
    let system = System::start().await;
    let (mut mallory, mut victim) = (system.browser(), system.browser());
    let authorize = system
        .authorize(&mut mallory, &system.app.connect_token("mallory"))
        .await;
    // The victim consents on the page that mallory began, hoping to finish herself.
    let consented = system.allow(&mut victim, &authorize, ADA).await;
    assert_eq!(victim.visit(&consented).await.page(), "wrong_browser");
    // The other way round: mallory's own consent, to be finished by the victim.
    let mallorys = system.allow(&mut mallory, &authorize, CEM).await;
    assert_eq!(victim.visit(&mallorys).await.page(), "wrong_browser");
    assert_untouched(&system).await;
    // Or finished by mallory up to the claim, which the victim carries into the app.
    let claim = mallory.visit(&mallorys).await.claim();
    assert_eq!(
        system.app.confirm("alice", &claim).await.code(),
        "claim_belongs_to_another_user"
    );
    assert!(system.app.links("alice").await.is_empty());
}

#[tokio::test]
async fn a_pending_link_is_never_listed_routed_to_or_notified() {
    let system = System::start().await;
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    record(&system, ADA).await;
    assert!(system.app.links("alice").await.is_empty());
    assert!(system.app.recordings("alice").await.is_empty());
    assert_eq!(traces_of_recordings(&system).await, 0);
    assert!(system.stack.demo_app().unwrap().received().is_empty());

    // Beside an active link of the same Zoom user, it gets nothing either.
    system.link("bob", ADA).await;
    record(&system, ADA).await;
    assert!(!system.app.recordings("bob").await.is_empty());
    assert!(system.app.recordings("alice").await.is_empty());
    let told = system.stack.demo_app().unwrap().received();
    assert!(
        !told.is_empty() && !format!("{told:?}").contains("alice"),
        "{told:?}"
    );

    assert_eq!(system.app.confirm("alice", &claim).await.status, 200);
    record(&system, ADA).await;
    assert!(!system.app.recordings("alice").await.is_empty());
}

// ------------------------------------------------------------------------------------ Zoom's faults

/// The pair of tokens that serves this user's links: access and refresh token.
async fn stored_pair(system: &System, zoom_user: &str) -> (String, String) {
    let environment = system.stack.function_environment("oauth-callback").unwrap();
    let user = system
        .zoom()
        .users()
        .into_iter()
        .find(|user| user.id == zoom_user)
        .unwrap();
    let zoom_user = ZoomUser {
        account_id: user.account_id.parse().unwrap(),
        user_id: user.id.parse().unwrap(),
    };
    let grant = LinkTable::new(environment)
        .unwrap()
        .holding(&zoom_user)
        .await
        .unwrap()
        .grant
        .unwrap();
    let vault = Vault::new(environment).unwrap();
    let tokens = vault
        .open(&TokenOwner::Grant(zoom_user), &grant.tokens.unwrap())
        .await
        .unwrap();
    (
        tokens.access_token.expose_secret().to_owned(),
        tokens.refresh_token.expose_secret().to_owned(),
    )
}

/// The pair that Zoom honours.
fn live_pair(system: &System, zoom_user: &str) -> (String, String) {
    let grant = system.zoom().live_grant(zoom_user).unwrap();
    (grant.access_token, grant.refresh_token)
}

/// The links' tokens are those that Zoom honours.
async fn assert_served(system: &System, zoom_user: &str) {
    let same = stored_pair(system, zoom_user).await == live_pair(system, zoom_user);
    assert!(same, "the stored pair is not the one that Zoom honours");
}

/// Exchanges whose tokens are saved and belong to no grant yet.
async fn interrupted_exchanges(system: &System) -> usize {
    let items = store::items(&system.stack, &system.stack.config().tables.sessions).await;
    items
        .iter()
        .filter(|item| item.contains("\"exchange#") && item.contains("sealed"))
        .count()
}

#[tokio::test]
async fn an_exchange_that_zoom_refuses_or_cannot_serve_is_told_to_the_app_and_leaves_links_as_they_are()
 {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    let pair = live_pair(&system, ADA);
    assert_served(&system, ADA).await;
    let status = |status| Fault::Status { status };
    let odd = |body: &str| Fault::Answer {
        status: 200,
        content_type: "application/json".into(),
        body: body.into(),
    };
    for (fault, code) in [
        (status(500), "zoom_unavailable"),
        (status(502), "zoom_unavailable"),
        (status(503), "zoom_unavailable"),
        (Fault::Close, "zoom_unavailable"),
        (Fault::Html, "zoom_unavailable"),
        (
            Fault::Redirect {
                to: "http://127.0.0.1:9/".into(),
            },
            "zoom_unavailable",
        ),
        (odd("{}"), "zoom_unavailable"),
        (odd("[["), "zoom_unavailable"),
        (status(400), "zoom_rejected_code"),
        (status(401), "zoom_rejected_code"),
        (status(403), "zoom_rejected_code"),
        (status(404), "zoom_rejected_code"),
        (
            Fault::RateLimited {
                retry_after_seconds: None,
            },
            "zoom_rejected_code",
        ),
    ] {
        // The linked user again, and another one to the same Zoom user.
        for app_user in ["alice", "bob"] {
            let mut browser = system.browser();
            let back = system.callback(&mut browser, app_user, ADA).await;
            system
                .zoom()
                .arm(NewFault::times(Point::TokenExchange, fault.clone(), 1))
                .unwrap();
            assert_eq!(browser.visit(&back).await.zoom_error(), code, "{fault:?}");
            assert_eq!(
                browser.visit(&back).await.page(),
                "session_spent",
                "{fault:?}"
            );
        }
        assert_eq!(
            system.app.links("alice").await,
            std::slice::from_ref(&link),
            "{fault:?}"
        );
        assert_eq!(
            (live_pair(&system, ADA), stored_pair(&system, ADA).await),
            (pair.clone(), pair.clone()),
            "{fault:?}"
        );
    }
    assert!(system.app.links("bob").await.is_empty());
    assert_eq!(interrupted_exchanges(&system).await, 0);
    record(&system, ADA).await;
    assert_eq!(system.app.recordings("alice").await.len(), 1);
    // Nobody is locked out by what went wrong before.
    system.link("bob", ADA).await;
}

#[tokio::test]
async fn a_code_that_is_used_or_expired_is_rejected() {
    let system = System::start().await;
    let mut browser = system.browser();
    let used = system.callback(&mut browser, "alice", ADA).await;
    browser.visit(&used).await.claim();
    let code = parameter(&used, "code");
    let fresh = system.callback(&mut browser, "alice", ADA).await;
    let visit = browser.visit(&with_parameter(&fresh, "code", &code)).await;
    assert_eq!(visit.zoom_error(), "zoom_rejected_code");

    let late = system.callback(&mut browser, "alice", ADA).await;
    // Zoom's codes live five minutes, our sessions ten.
    system.stack.advance(SignedDuration::from_mins(6));
    assert_eq!(
        browser.visit(&late).await.zoom_error(),
        "zoom_rejected_code"
    );
}

#[tokio::test]
async fn when_users_me_fails_the_exchanged_pair_is_safe_and_links_go_on() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    let faults = [
        Fault::Status { status: 500 },
        Fault::Status { status: 503 },
        Fault::RateLimited {
            retry_after_seconds: None,
        },
        Fault::Close,
        Fault::LoseAnswer,
        Fault::Html,
        Fault::Answer {
            status: 200,
            content_type: "application/json".into(),
            body: "{}".into(),
        },
        Fault::Answer {
            status: 200,
            content_type: "application/json".into(),
            body: json!({"id": "a#b", "account_id": "a/b"}).to_string(),
        },
    ];
    for (before, fault) in faults.into_iter().enumerate() {
        let mut browser = system.browser();
        let back = system.callback(&mut browser, "bob", ADA).await;
        system
            .zoom()
            .arm(NewFault::times(Point::UsersMe, fault.clone(), 1))
            .unwrap();
        assert_eq!(
            browser.visit(&back).await.zoom_error(),
            "zoom_unavailable",
            "{fault:?}"
        );
        assert_eq!(
            browser.visit(&back).await.page(),
            "session_spent",
            "{fault:?}"
        );
        // Whose it is nobody knows yet, so it waits under a key of its own.
        assert_eq!(
            interrupted_exchanges(&system).await,
            before + 1,
            "{fault:?}"
        );
        assert_eq!(system.app.links("alice").await, std::slice::from_ref(&link));
        assert!(system.app.links("bob").await.is_empty());
    }
    let (access, refresh) = live_pair(&system, ADA);
    let sessions = store::items(&system.stack, &system.stack.config().tables.sessions)
        .await
        .join("\n");
    assert!(
        !sessions.contains(&access) && !sessions.contains(&refresh),
        "tokens in the clear"
    );

    record(&system, ADA).await;
    assert_eq!(system.app.recordings("alice").await.len(), 1);
    // The next flow that goes well brings a pair that serves both.
    system.link("bob", ADA).await;
    assert_served(&system, ADA).await;
}

#[tokio::test]
async fn an_exchange_whose_answer_is_lost_leaves_the_link_to_the_next_flow() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    let mut browser = system.browser();
    let back = system.callback(&mut browser, "alice", ADA).await;
    system
        .zoom()
        .arm(NewFault::times(Point::TokenExchange, Fault::LoseAnswer, 1))
        .unwrap();
    assert_eq!(browser.visit(&back).await.zoom_error(), "zoom_unavailable");
    assert_eq!(exchanges(&system), 2, "a code is handed in once");
    assert_eq!(system.app.links("alice").await, std::slice::from_ref(&link));

    let again = system.link("alice", ADA).await;
    assert_eq!(again["id"], link["id"]);
    assert_served(&system, ADA).await;
}

#[tokio::test]
async fn a_grant_without_a_needed_scope_makes_no_link() {
    let system = System::start().await;
    let all = system.zoom().settings().scopes;
    for lacking in [
        "user:read:user",
        "cloud_recording:read:list_user_recordings",
        "cloud_recording:read:list_recording_files",
    ] {
        let scopes = all
            .iter()
            .filter(|scope| *scope != lacking)
            .cloned()
            .collect();
        system.zoom().set_scopes(ADA, Some(scopes)).unwrap();
        let mut browser = system.browser();
        let back = system.callback(&mut browser, "alice", ADA).await;
        assert_eq!(
            browser.visit(&back).await.zoom_error(),
            "zoom_scope_missing",
            "{lacking}"
        );
        assert_eq!(
            browser.visit(&back).await.page(),
            "session_spent",
            "{lacking}"
        );
        // Nothing of the attempt stands in the way of the next one.
        system.work().await;
    }
    let tables = &system.stack.config().tables;
    for (table, kind) in [(&tables.links, "link#"), (&tables.sessions, "claim#")] {
        let items = store::items(&system.stack, table).await;
        assert!(!items.iter().any(|item| item.contains(kind)), "{items:?}");
    }

    system.zoom().set_scopes(ADA, None).unwrap();
    system.link("alice", ADA).await;
    // Classic scopes, of an app registered before the granular ones, are as good.
    let classic = ["user:read", "recording:read"].map(str::to_owned).to_vec();
    system.zoom().set_scopes(BEN, Some(classic)).unwrap();
    system.link("alice", BEN).await;
}

#[tokio::test]
async fn a_consent_without_a_needed_scope_still_serves_the_links_that_exist() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    let before = stored_pair(&system, ADA).await;
    system
        .zoom()
        .set_scopes(ADA, Some(vec!["user:read:user".into()]))
        .unwrap();
    for app_user in ["alice", "bob"] {
        let mut browser = system.browser();
        let back = system.callback(&mut browser, app_user, ADA).await;
        assert_eq!(
            browser.visit(&back).await.zoom_error(),
            "zoom_scope_missing"
        );
        // Zoom has ended the older pair, so alice's link gets the new one.
        assert_served(&system, ADA).await;
    }
    assert_ne!(stored_pair(&system, ADA).await, before);
    assert_eq!(interrupted_exchanges(&system).await, 0);
    assert_eq!(system.app.links("alice").await, [link]);
    assert!(system.app.links("bob").await.is_empty());
    record(&system, ADA).await;
    assert_eq!(system.app.recordings("alice").await.len(), 1);
    assert!(system.app.recordings("bob").await.is_empty());
}

#[tokio::test]
async fn of_two_consents_of_one_zoom_user_the_pair_that_zoom_honours_serves_both() {
    let system = System::start().await;
    let (mut alice, mut bob) = (system.browser(), system.browser());
    let alices = system.callback(&mut alice, "alice", ADA).await;
    let bobs = system.callback(&mut bob, "bob", ADA).await;
    let claims = [
        ("alice", alice.visit(&alices).await.claim()),
        ("bob", bob.visit(&bobs).await.claim()),
    ];
    for (user, claim) in claims {
        assert_eq!(system.app.confirm(user, &claim).await.status, 200, "{user}");
    }
    assert_served(&system, ADA).await;
}

#[tokio::test]
async fn a_consent_that_is_stored_late_does_not_replace_the_pair_of_a_newer_one() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    let (mut bob, mut carol) = (system.browser(), system.browser());
    let bobs = system.callback(&mut bob, "bob", ADA).await;
    let carols = system.callback(&mut carol, "carol", ADA).await;
    // Bob's pair is exchanged, and storing it fails twice; the function tries again after a pause. In
    // this pause carol's consent ends bob's pair at Zoom and is stored.
    let faults = system.stack.engines().faults();
    faults.reset_calls();
    faults.fail_next(
        Service::DynamoDb,
        "TransactWriteItems",
        2,
        embedded_aws::Fault::error(500, "InternalServerError"),
    );
    let late = tokio::spawn(async move { bob.visit(&bobs).await });
    while faults.calls(Service::DynamoDb, "TransactWriteItems") < 2 {
        tokio::task::yield_now().await;
    }
    carol.visit(&carols).await.claim();
    late.await.unwrap();
    // Whatever sets things right afterwards may do so first.
    system.work().await;
    assert_served(&system, ADA).await;
    assert_eq!(system.app.links("alice").await, [link]);
}
