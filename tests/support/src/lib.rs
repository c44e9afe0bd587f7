//! Test harness: a running system with its app, browser, app webhook and Zoom.
//!
//! Tests reach the deployed functions over HTTP and know nothing of their internals.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "test support: a panic is the report"
)]

pub mod app;
pub mod app_webhook;
pub mod browser;
pub mod counted;
pub mod delayed_messages;
pub mod downloader;
pub mod recordings;
pub mod server;
mod store;
pub mod system;
pub mod zoom;

pub use app::App;
pub use app_webhook::{AppWebhook, Received};
pub use browser::{Browser, Visit};
pub use delayed_messages::{DelayedMessage, DelayedMessages};
pub use server::TestServer;
pub use system::System;

/// Bytes in a MiB.
pub const MIB: u64 = 1024 * 1024;

/// Attempts of the AWS SDK for one call.
pub const SDK_ATTEMPTS: u64 = 3;

/// Ids of the simulator's seeded Zoom users.
pub mod zoom_users {
    /// Ada, in the same account as Ben.
    pub const ADA: &str = "UserAdaBerg00000000001";
    /// Ben, in the same account as Ada.
    pub const BEN: &str = "UserBenCole_0000000002";
    /// Cem, in another account.
    pub const CEM: &str = "-UserCemDiaz0000000003";
}
