//! What all pages share.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use url::Url;

use super::{SCRIPT, STYLE};
use crate::app_user::AppUser;
use crate::session::{Flash, Tone};

/// Where in the app a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Start,
    Integrations,
    Recordings,
    Notifications,
}

const NAVIGATION: [(Section, &str, &str); 4] = [
    (Section::Start, "/", "Start"),
    (
        Section::Integrations,
        "/settings/integrations",
        "Integrations",
    ),
    (Section::Recordings, "/recordings", "Recordings"),
    (Section::Notifications, "/notifications", "Notifications"),
];

const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
    %3Crect width='16' height='16' rx='4' fill='%234456c7'/%3E%3Cpath d='M6 4.5l5 3.5-5 3.5z' fill='white'/%3E%3C/svg%3E";

/// What surrounds a page's body.
pub(super) struct Frame<'a> {
    title: &'a str,
    here: Option<Section>,
    user: Option<&'a AppUser>,
    flash: Option<Flash>,
}

impl<'a> Frame<'a> {
    /// A page for whoever is signed in.
    pub(super) fn signed_in(
        title: &'a str,
        here: Section,
        user: &'a AppUser,
        flash: Option<Flash>,
    ) -> Self {
        Self {
            title,
            here: Some(here),
            user: Some(user),
            flash,
        }
    }

    /// A page for anybody.
    pub(super) fn plain(title: &'a str) -> Self {
        Self {
            title,
            here: None,
            user: None,
            flash: None,
        }
    }

    pub(super) fn with_flash(self, flash: Option<Flash>) -> Self {
        Self { flash, ..self }
    }
}

pub(super) fn page(frame: &Frame<'_>, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (frame.title) " · Demo app" }
                link rel="icon" href=(ICON);
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header {
                    .bar {
                        a.brand href="/" { span.mark aria-hidden="true" { "▶" } "Demo app" }
                        @if let Some(user) = frame.user {
                            nav aria-label="Main" {
                                @for (section, path, name) in NAVIGATION {
                                    a href=(path) aria-current=[(frame.here == Some(section)).then_some("page")] {
                                        (name)
                                    }
                                }
                            }
                            form.who method="post" action="/sign-out" {
                                span { span.muted { "Signed in as " } strong { (user) } }
                                button.quiet type="submit" { "Sign out" }
                            }
                        }
                    }
                }
                main id="main" {
                    @if let Some(flash) = &frame.flash { (notice(flash)) }
                    (body)
                }
                p.hidden id="announce" role="status" {}
                footer {
                    p { "An example app. It knows Reelay only by its public HTTP contract." }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

fn notice(flash: &Flash) -> Markup {
    let (class, role) = match flash.tone {
        Tone::Good => ("good", "status"),
        Tone::Neutral => ("plain", "status"),
        Tone::Bad => ("bad", "alert"),
    };
    html! { p.notice.(class) role=(role) { (flash.text) } }
}

/// What to do next, so that nobody has to guess.
pub(super) fn hint(text: Markup) -> Markup {
    html! {
        aside.hint aria-label="What to do next" {
            strong { "Next" }
            div { (text) }
        }
    }
}

/// The way to a new recording: the simulator where there is one, Zoom itself otherwise.
pub(super) fn record_something(simulator: Option<&Url>) -> Markup {
    html! {
        @if let Some(url) = simulator {
            "Now complete a recording in the "
            a href=(url) target="_blank" rel="noopener noreferrer" { "Zoom simulator" } " →"
        } @else {
            "Now record a Zoom meeting to the cloud. It shows up here when Zoom has processed it."
        }
    }
}
