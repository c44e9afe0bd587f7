//! The frame around every page.

use maud::{DOCTYPE, Markup, html};
use url::Url;

use super::components::avatar;
use crate::app_user::AppUser;
use crate::session::Flash;

const NAVIGATION: [(&str, &str); 3] = [
    ("/settings/integrations", "Integrations"),
    ("/recordings", "Recordings"),
    ("/notifications", "Notifications"),
];

const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
    %3Crect width='16' height='16' rx='4' fill='%234456c7'/%3E%3Cpath d='M6 4.5l5 3.5-5 3.5z' fill='white'/%3E%3C/svg%3E";

/// Renders a page. `signed_in` is the user and the path of the current navigation entry.
pub(super) fn page(
    title: &str,
    signed_in: Option<(&AppUser, &str)>,
    flash: Option<Flash>,
    body: &Markup,
) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Demo app" }
                link rel="icon" href=(ICON);
                link rel="stylesheet" href="/assets/style.css";
                // Blocks rendering, so that local times and captions are there in the first frame.
                script src="/assets/live.js" defer blocking="render" {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header {
                    .bar {
                        a.brand href="/" { span.mark aria-hidden="true" { "▶" } "Demo app" }
                        @if let Some((user, section)) = signed_in {
                            nav aria-label="Main" {
                                @for (path, name) in NAVIGATION {
                                    a href=(path) aria-current=[(path == section).then_some("page")] {
                                        (name)
                                    }
                                }
                            }
                            form.who method="post" action="/sign-out" {
                                (avatar(user.as_str()))
                                span { span.muted { "Signed in as " } strong { (user.as_str()) } }
                                button.quiet type="submit" { "Sign out" }
                            }
                        }
                    }
                }
                main id="main" {
                    @match flash {
                        Some(Flash::Info(text)) => p.notice.good role="status" { (text) },
                        Some(Flash::Error(text)) => p.notice.bad role="alert" { (text) },
                        None => {},
                    }
                    (body)
                }
                p.hidden id="announcement" role="status" {}
                footer {
                    p { "An example app. It uses Reelay’s public HTTP contract only." }
                }
            }
        }
    }
}

/// Says how to make a recording: in the simulator if there is one, otherwise at Zoom.
pub(super) fn record_hint(simulator: Option<&Url>) -> Markup {
    html! {
        aside.hint aria-label="What to do next" {
            strong { "Next" }
            p {
                @if let Some(url) = simulator {
                    "Complete a recording in the "
                    a href=(url) target="_blank" rel="noopener noreferrer" { "Zoom simulator" } "."
                } @else { "Record a Zoom meeting to the cloud." }
                " It appears under " a href="/recordings" { "Recordings" } " by itself."
            }
        }
    }
}
