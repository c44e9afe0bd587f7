//! HTML pages: consent, errors, the control page.
//!
//! The content security policy allows one inline style sheet and one inline script, by their hashes.

use std::sync::LazyLock;

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::users::User;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("control.js");

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    // No `form-action`: browsers apply it to redirects too, and consent redirects to the app.
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

/// A page with its security headers.
pub(crate) fn page(status: StatusCode, markup: &Markup) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, Html(markup.clone().into_string())).into_response()
}

fn document(title: &str, class: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body class=(class) { (body) }
        }
    }
}

fn initials(user: &User) -> String {
    user.first_name.chars().take(1).chain(user.last_name.chars().take(1)).collect()
}

/// The consent page: users, scopes, and two buttons.
pub(crate) fn consent(
    users: &[&User],
    client_id: &str,
    config: &Config,
    params: &[(String, String)],
) -> Markup {
    let body = html! {
        main.card {
            p.brand { "Zoom simulator" }
            h1 { "Allow this app to use your recordings?" }
            p.quiet { "The app " code { (client_id) } " requests access. Choose a Zoom user." }
            form method="get" action="/oauth/authorize" {
                @for (name, value) in params.iter().filter(|(name, _)| !name.starts_with("sim_")) {
                    input type="hidden" name=(name) value=(value);
                }
                fieldset {
                    legend { "Signed in as" }
                    @for (place, user) in users.iter().enumerate() {
                        label.person {
                            input type="radio" name="sim_user" value=(user.id) checked[place == 0] required;
                            span.face aria-hidden="true" { (initials(user)) }
                            span { strong { (user.display_name()) } br; span.quiet { (user.email) " · " (user.account_name) } }
                        }
                    }
                }
                details {
                    summary { "Requested scopes" }
                    ul { @for scope in &config.scopes { li { code { (scope) } } } }
                }
                p.buttons {
                    button.primary type="submit" name="sim_decision" value="allow" { "Allow" }
                    button type="submit" name="sim_decision" value="deny" { "Deny" }
                }
            }
        }
    };
    document("Allow access – Zoom simulator", "narrow", &body)
}

/// The error page for an invalid authorization request, which never redirects.
pub(crate) fn authorize_error(message: &str, code: u32) -> Markup {
    let (thousands, rest) = (code / 1000, code % 1000);
    let body = html! {
        main.card {
            p.brand { "Zoom simulator" }
            h1 { (message) " (" (thousands) "," (format!("{rest:03}")) ")" }
            p.quiet { "The app sent an invalid authorization request. Go back to the app and try again." }
        }
    };
    document("Error – Zoom simulator", "narrow", &body)
}

/// The response to a download without a valid token, with status 200.
pub(crate) fn sign_in() -> Markup {
    let body = html! {
        main.card { p.brand { "Zoom simulator" } h1 { "Sign in" } p.quiet { "Only the host can download this recording." } }
    };
    document("Sign In – Zoom simulator", "narrow", &body)
}

/// The response for a recording that does not exist.
pub(crate) fn no_recording() -> Markup {
    let body = html! {
        main.card { p.brand { "Zoom simulator" } h1 { "This recording does not exist." } }
    };
    document("No recording – Zoom simulator", "narrow", &body)
}

/// The control page; its script fills it from `/_sim/overview`.
pub(crate) fn control() -> Markup {
    let types = [
        ("MP4", "Video", "50"),
        ("M4A", "Audio", "8"),
        ("CHAT", "Chat", "0.01"),
        ("TIMELINE", "Timeline", "0.02"),
        ("TRANSCRIPT", "Transcript", "0.01"),
        ("CC", "Captions", "0"),
        ("CSV", "Poll", "0"),
    ];
    let body = html! {
        header.top {
            h1 { "Zoom simulator" }
            p.quiet id="status" { "…" }
            p.tools {
                button data-clock="300" { "+5 min" }
                button data-clock="3600" { "+1 h" }
                button data-clock="86400" { "+1 day" }
                button id="webhooks" { "Webhooks" }
                button id="validate" { "Validate endpoint" }
            }
        }
        p.notice id="notice" role="status" {}
        main.grid {
            section {
                h2 { "Complete a recording" }
                form id="create" {
                    label { "Host" select name="host_id" {} }
                    label { "Topic" input name="topic" value="Weekly sync — été"; }
                    div.row {
                        label { "Minutes" input name="duration_minutes" type="number" min="0" value="31"; }
                        label { "Segments" input name="segments" type="number" min="1" value="1"; }
                        label { "Extra audio" input name="participant_audio" title="Files with the audio of one participant" type="number" min="0" value="0"; }
                    }
                    fieldset {
                        legend { "Files, in MB (0 = none)" }
                        div.sizes {
                            @for (kind, name, size) in types { label { (name) input data-type=(kind) type="number" min="0" step="any" value=(size); } }
                        }
                    }
                    button.primary type="submit" { "Complete a recording" }
                }
                h2 { "Users" }
                div id="users" {}
                h2 { "Faults" }
                form id="fault" {
                    div.row {
                        label { "At" select name="at" {
                            @for point in ["token_refresh", "token_exchange", "revoke", "users_me", "list_recordings", "meeting_recordings", "download", "content"] { option { (point) } }
                        } }
                        label { "Fault" select name="kind" {
                            option value="{\"kind\":\"status\",\"status\":500}" { "500" }
                            option value="{\"kind\":\"status\",\"status\":401}" { "401" }
                            option value="{\"kind\":\"status\",\"status\":404}" { "404" }
                            option value="{\"kind\":\"rate_limited\"}" { "429 per second" }
                            option value="{\"kind\":\"rate_limited\",\"retry_after_seconds\":3600}" { "429 daily" }
                            option value="{\"kind\":\"html\"}" { "200 with a sign-in page" }
                            option value="{\"kind\":\"hang\"}" { "no response" }
                            option value="{\"kind\":\"close\"}" { "connection closed" }
                            option value="{\"kind\":\"lose_response\"}" { "processed, response lost" }
                            option value="{\"kind\":\"truncate\",\"after\":1000000}" { "content: close after 1 MB" }
                            option value="{\"kind\":\"reset\",\"after\":1000000}" { "content: reset after 1 MB" }
                            option value="{\"kind\":\"stall\",\"after\":1000000}" { "content: stall after 1 MB" }
                            option value="{\"kind\":\"omit_length\"}" { "content: no length" }
                            option value="{\"kind\":\"ignore_range\"}" { "content: no ranges" }
                            option value="{\"kind\":\"slow\",\"bytes_per_second\":2000000}" { "content: 2 MB/s" }
                        } }
                        label { "Times" input name="times" type="number" min="1" value="1"; }
                    }
                    button type="submit" { "Activate" }
                    button type="button" id="clear" { "Clear all" }
                }
                div id="faults" {}
            }
            section {
                h2 { "Recordings" }
                div id="recordings" {}
            }
            section {
                h2 { "Deliveries" }
                div id="deliveries" {}
                h2 { "Requests received" }
                div id="requests" {}
            }
        }
        script { (PreEscaped(SCRIPT)) }
    };
    document("Zoom simulator", "wide", &body)
}
