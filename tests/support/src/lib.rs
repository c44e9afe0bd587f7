//! What the suite speaks in: a running system, an app that mints tokens, a browser that keeps a cookie.
//!
//! Everything goes over real HTTP to the real functions; nothing here knows their insides.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "test support: a panic is the report"
)]

pub mod app;
pub mod browser;
pub mod delayed;
pub mod downloader;
pub mod inbox;
pub mod landed;
pub mod store;
pub mod system;
pub mod zoom;

pub use app::App;
pub use browser::{Browser, Visit};
pub use delayed::{Delayed, Later};
pub use inbox::{Inbox, Told};
pub use system::System;

/// Seeded users of the simulator: two colleagues of one account, and somebody of another.
pub mod people {
    /// Ada and Ben work for the same company.
    pub const ADA: &str = "UserAdaBerg00000000001";
    /// Ben.
    pub const BEN: &str = "UserBenCole_0000000002";
    /// Cem works elsewhere.
    pub const CEM: &str = "-UserCemDiaz0000000003";
}
