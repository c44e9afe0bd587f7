//! An example app that embeds Reelay: its users connect Zoom, and their recordings appear here.
//!
//! The app uses Reelay's public HTTP contract and nothing else, so you can copy from it. Read these first:
//!
//! * [`reelay`]: the client; each endpoint of the contract is one method.
//! * `pages::integrations`: the Connect button, the return from Zoom, and disconnecting.
//! * `webhook`: verifying and storing notifications.
//!
//! Reelay needs the app's URLs and the app needs Reelay's, so binding and serving are separate steps:
//!
//! ```no_run
//! # async fn example() -> Result<(), reelay_demo_app::Error> {
//! let bound = reelay_demo_app::Bound::bind(([127, 0, 0, 1], 0).into()).await?;
//! let (return_url, webhook_url) = (bound.return_url(), bound.webhook_url());
//! // Start Reelay with these two URLs, then:
//! let app = bound.serve(reelay_demo_app::Config {
//!     public_url: None,
//!     reelay_url: "http://127.0.0.1:4000".parse().expect("a valid URL"),
//!     app_secret: "the app secret".into(),
//!     notification_secret: "the notification secret".into(),
//!     simulator_url: None,
//!     media_sources: vec!["http://127.0.0.1:*".into()],
//!     clock: reelay_demo_app::Clock::default(),
//! }).await?;
//! # app.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod app;
mod app_user;
mod clock;
mod inbox;
mod pages;
pub mod reelay;
mod security;
mod server;
mod session;
mod webhook;

pub use self::app_user::{AppUser, InvalidAppUser};
pub use self::clock::Clock;
pub use self::inbox::Notification;
pub use self::server::{Bound, Config, DemoApp, Error, RETURN_PATH, WEBHOOK_PATH};
