//! The state and the session behind it: altered, forged, replayed, expired, in other hands.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use reelay_domain::keys::SecretVersions;
use reelay_domain::signed_state::{self, Nonce};
use support::System;
use support::people::{ADA, BEN, CEM};

use super::{assert_completes, assert_untouched};
use crate::linking::{exchanges, parameter, with_parameter};

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
            &SecretVersions::single(key),
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
    let keys = SecretVersions::single(key.secret_string.unwrap());
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
