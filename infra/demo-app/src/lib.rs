//! An example app that embeds Reelay: its users connect Zoom, and their recordings appear here.
//!
//! The app uses Reelay's public HTTP contract and nothing else, so you can copy from it. Read these first:
//!
//! * [`reelay`]: the client; each endpoint of the contract is one method.
//! * `pages::integrations`: the Connect button, the return from Zoom, and disconnecting.
//! * `webhook`: verifying and storing notifications.

mod app;
mod app_user;
mod clock;
mod inbox;
mod pages;
pub mod reelay;
mod security;
mod server;
mod session;
mod transcript;
mod webhook;

pub use self::app_user::{AppUser, InvalidAppUser};
pub use self::clock::Clock;
pub use self::inbox::Notification;
pub use self::server::{Bound, Config, DemoApp, Error, RETURN_PATH, WEBHOOK_PATH};
