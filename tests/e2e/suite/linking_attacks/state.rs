//! State and session: altered, forged, replayed, expired, or in another browser.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use reelay_domain::keys::SecretVersions;
use reelay_domain::signed_state::{self, Nonce};
use reelay_embedded_aws::{Fault, Service};
use support::System;
use support::zoom_users::{ADA, BEN, CEM};

use super::{assert_completes, assert_untouched};
use crate::linking::{exchanges, parameter, with_parameter};

#[tokio::test]
async fn altered_state_is_rejected() {
    let system = System::start().await;
    let mut browser = system.browser();
    let callback = system.callback(&mut browser, "alice", ADA).await;
    let state = parameter(&callback, "state");
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
        // 58 bytes instead of 57, so that alphabet and padding matter.
        STANDARD.encode([&bytes[..], &[255]].concat()),
        state.to_uppercase(),
        "A".repeat(76),
        "x".to_owned(),
        "é".repeat(38),
        "A".repeat(9000),
    ];
    for state in altered.chain(mangled) {
        let visit = browser.visit(&with_parameter(&callback, "state", &state)).await;
        assert_eq!(visit.error_page(), "state_invalid", "{state}");
    }
    assert_untouched(&system).await;
    assert_completes(&system, &mut browser, &callback, "alice").await;
}

#[tokio::test]
async fn invalid_state_touches_no_table() {
    let system = System::start().await;
    let mut browser = system.browser();
    let callback = system.callback(&mut browser, "alice", ADA).await;
    system.faults().reset_calls();
    for (query, page) in [
        ("state=x&code=c", "state_invalid"),
        ("state=x&error=access_denied", "access_denied"),
        ("error=access_denied", "access_denied"),
        ("code=c", "install_restart"),
    ] {
        let url = format!("{}?{query}", callback.split('?').next().unwrap());
        assert_eq!(browser.visit(&url).await.error_page(), page, "{query}");
    }
    for operation in
        ["GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan", "TransactWriteItems"]
    {
        assert_eq!(system.faults().calls(Service::DynamoDb, operation), 0, "{operation}");
    }
}

#[tokio::test]
async fn state_signed_by_unknown_key_is_rejected() {
    let system = System::start().await;
    let mut browser = system.browser();
    let callback = system.callback(&mut browser, "alice", ADA).await;
    // The attacker knows the nonce.
    let nonce: [u8; 16] =
        URL_SAFE_NO_PAD.decode(parameter(&callback, "state")).unwrap()[1..17].try_into().unwrap();
    for key in ["attacker", "", &system.config().secrets.app_secret] {
        let state = signed_state::sign(
            &SecretVersions::single(key),
            &Nonce::from_random(nonce),
            system.app.now(),
        );
        let visit = browser.visit(&with_parameter(&callback, "state", &state)).await;
        assert_eq!(visit.error_page(), "state_invalid");
    }
    assert_untouched(&system).await;
    assert_completes(&system, &mut browser, &callback, "alice").await;
}

#[tokio::test]
async fn valid_state_without_session_is_rejected() {
    let system = System::start().await;
    let mut browser = system.browser();
    let callback = system.callback(&mut browser, "alice", ADA).await;
    let function = system.stack.function_environment("oauth-callback").unwrap();
    let id = function.variables.required("STATE_KEY").unwrap();
    let key = system.sdk().secretsmanager().get_secret_value().secret_id(id).send().await.unwrap();
    let keys = SecretVersions::single(key.secret_string.unwrap());
    let state = signed_state::sign(&keys, &Nonce::from_random([7; 16]), system.app.now());
    let visit = browser.visit(&with_parameter(&callback, "state", &state)).await;
    assert_eq!(visit.error_page(), "session_spent");
    assert_untouched(&system).await;
}

#[tokio::test]
async fn expired_state_is_rejected() {
    let system = System::start().await;
    let mut browser = system.browser();
    let authorize = system.authorize(&mut browser, &system.app.connect_token("alice")).await;
    system.advance(SignedDuration::from_mins(10));
    // The code is fresh because the user consented late.
    let callback = system.allow(&mut browser, &authorize, ADA).await;
    assert_eq!(browser.visit(&callback).await.error_page(), "session_expired");
    // A forger does not learn whether the state expired.
    let forged =
        with_parameter(&callback, "state", &parameter(&callback, "state").replace(['a', 'b'], "c"));
    assert_eq!(browser.visit(&forged).await.error_page(), "state_invalid");
    assert_untouched(&system).await;
}

#[tokio::test]
async fn replayed_state_is_rejected() {
    let system = System::start().await;
    let mut browser = system.browser();
    let callback = system.callback(&mut browser, "alice", ADA).await;
    let claim = browser.visit(&callback).await.claim();
    assert_eq!(browser.visit(&callback).await.error_page(), "session_spent");
    // With another user's fresh code.
    let fresh = system.callback(&mut browser, "alice", BEN).await;
    let code = parameter(&fresh, "code");
    assert_eq!(
        browser.visit(&with_parameter(&callback, "code", &code)).await.error_page(),
        "session_spent"
    );
    assert_eq!(system.browser().visit(&callback).await.error_page(), "session_spent");
    assert_eq!(exchanges(&system), 1);
    assert_eq!(
        system.app.confirm("alice", &claim).await.status,
        200,
        "the replay affected the claim"
    );
}

#[tokio::test]
async fn one_of_two_concurrent_callbacks_consumes_session() {
    let system = System::start().await;
    let mut browser = system.browser();
    let callback = system.callback(&mut browser, "alice", ADA).await;
    let (mut one, mut two) = (browser.clone(), browser.clone());
    let (first, second) = tokio::join!(one.visit(&callback), two.visit(&callback));
    let (won, lost) = if first.status == 302 { (first, second) } else { (second, first) };
    assert_eq!(lost.error_page(), "session_spent");
    assert_eq!(system.app.confirm("alice", &won.claim()).await.status, 200);
    assert_eq!(exchanges(&system), 1);
}

#[tokio::test]
async fn callback_from_another_browser_keeps_session() {
    let system = System::start().await;
    let mut browser = system.browser();
    let callback = system.callback(&mut browser, "alice", ADA).await;
    let name = "__Host-reelay-connect";
    let (valid, other) = (browser.cookie.clone().unwrap(), URL_SAFE_NO_PAD.encode([7; 32]));
    let mut stranger = system.browser();
    for cookie in [
        None,
        Some(format!("{name}=")),
        Some(format!("{name}=-")),
        Some(format!("{name}={other}")),
        Some(format!("{name}=\"{}\"", valid.split_once('=').unwrap().1)),
        Some(valid.to_lowercase()),
        Some(valid.replace("__Host-", "")),
        // The right cookie beside a planted one.
        Some(format!("{valid}; {name}={other}")),
        Some(format!("{name}={other}; {valid}")),
    ] {
        stranger.cookie = cookie.clone();
        let visit = stranger.visit(&callback).await;
        assert_eq!(visit.error_page(), "wrong_browser", "{cookie:?}");
        // On plain http a client may not have sent the cookie.
        let says_why = visit.body.contains("the attribute Secure");
        assert_eq!(says_why, cookie.is_none(), "{cookie:?}");
    }
    assert_untouched(&system).await;
    assert_completes(&system, &mut browser, &callback, "alice").await;
}

#[tokio::test]
async fn callback_for_another_session_is_rejected() {
    let system = System::start().await;
    let (mut alice, mut mallory) = (system.browser(), system.browser());
    let alices = system.callback(&mut alice, "alice", ADA).await;
    let mallorys = system.callback(&mut mallory, "mallory", CEM).await;
    assert_eq!(mallory.visit(&alices).await.error_page(), "wrong_browser");
    // Otherwise Alice would get Mallory's Zoom account.
    assert_eq!(alice.visit(&mallorys).await.error_page(), "wrong_browser");
    assert_untouched(&system).await;
    assert_completes(&system, &mut alice, &alices, "alice").await;
    assert_completes(&system, &mut mallory, &mallorys, "mallory").await;
}

#[tokio::test]
async fn injected_code_fails_pkce() {
    let system = System::start().await;
    let (mut alice, mut mallory) = (system.browser(), system.browser());
    let alices = system.callback(&mut alice, "alice", ADA).await;
    let mallorys = system.callback(&mut mallory, "mallory", CEM).await;
    // Mallory uses Alice's code in her own session.
    let stolen = with_parameter(&mallorys, "code", &parameter(&alices, "code"));
    assert_eq!(mallory.visit(&stolen).await.zoom_error(), "zoom_rejected_code");
    assert!(system.zoom().grants().is_empty());
    assert_completes(&system, &mut alice, &alices, "alice").await;
    assert!(system.app.links("mallory").await.is_empty());
}

#[tokio::test]
async fn malformed_callback_is_rejected() {
    let system = System::start().await;
    let mut browser = system.browser();
    let callback = system.callback(&mut browser, "alice", ADA).await;
    let (code, state) = (parameter(&callback, "code"), parameter(&callback, "state"));
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
        // API Gateway joins two parameters to one.
        format!("?code={code}&state={state},{state}"),
    ] {
        let visit = browser.visit(&format!("{path}{query}")).await;
        assert_eq!(visit.error_page(), "state_invalid", "{query}");
    }
    assert_untouched(&system).await;
    assert_completes(&system, &mut browser, &callback, "alice").await;
}

#[tokio::test]
async fn declined_consent_consumes_session_and_redirects() {
    let system = System::start().await;
    let mut browser = system.browser();
    let authorize = system.authorize(&mut browser, &system.app.connect_token("alice")).await;
    let allowed = system.allow(&mut browser, &authorize, ADA).await;
    let denied = system.deny(&mut browser, &authorize).await;
    assert_eq!(browser.visit(&denied).await.zoom_error(), "access_denied");
    assert_eq!(
        browser.visit(&denied).await.error_page(),
        "access_denied",
        "the session is still there"
    );
    assert_eq!(browser.visit(&allowed).await.error_page(), "session_spent");
    assert_untouched(&system).await;
}

#[tokio::test]
async fn declined_consent_without_valid_state_shows_page() {
    let system = System::start().await;
    let mut browser = system.browser();
    let authorize = system.authorize(&mut browser, &system.app.connect_token("alice")).await;
    let callback = system.allow(&mut browser, &authorize, ADA).await;
    let denied = system.deny(&mut browser, &authorize).await;
    let url = format!("{}/zoom/callback", system.stack.url());
    let forged = with_parameter(&denied, "state", &"A".repeat(76));
    let reflected =
        format!("{url}?error=%3Cscript%3Ealert(1)%3C/script%3E&error_description=%3Cscript%3E");
    // The victim's browser with an invalid state, and another browser with the valid one.
    for address in [format!("{url}?error=access_denied"), forged, reflected] {
        let visit = browser.visit(&address).await;
        assert_eq!(visit.error_page(), "access_denied", "{address}");
        assert!(!visit.body.contains("script"), "the page repeats its input");
    }
    assert_eq!(system.browser().visit(&denied).await.error_page(), "access_denied");
    assert_completes(&system, &mut browser, &callback, "alice").await;

    let authorize = system.authorize(&mut browser, &system.app.connect_token("alice")).await;
    let late = system.deny(&mut browser, &authorize).await;
    system.advance(SignedDuration::from_mins(10));
    assert_eq!(browser.visit(&late).await.error_page(), "access_denied");
}

#[tokio::test]
async fn lost_response_neither_spends_the_session_nor_the_code() {
    let system = System::start().await;
    let mut browser = system.browser();
    let lost = Fault::connection_closed().after_effect();
    system.faults().fail_next(Service::DynamoDb, "PutItem", 1, lost.clone());
    let callback = system.callback(&mut browser, "alice", ADA).await;
    system.faults().fail_next(Service::DynamoDb, "UpdateItem", 1, lost);
    assert_completes(&system, &mut browser, &callback, "alice").await;
}

#[tokio::test]
async fn repeated_parameter_keeps_the_session() {
    let system = System::start().await;
    let mut browser = system.browser();
    let callback = system.callback(&mut browser, "alice", ADA).await;
    for repeated in ["x=1&x=2", "error_description=a&error_description=b", "code=c"] {
        let visit = browser.visit(&format!("{callback}&{repeated}")).await;
        assert_eq!(visit.error_page(), "state_invalid", "{repeated}");
    }
    assert_completes(&system, &mut browser, &callback, "alice").await;
}
