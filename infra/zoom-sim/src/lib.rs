//! An offline Zoom.
//!
//! It speaks the server side of what an app meets at Zoom when its users connect and their cloud
//! recordings complete: the OAuth consent page and token endpoints, the REST API for recordings,
//! downloads with their redirect to another host, and signed webhooks with Zoom's retries. It exists so
//! that such an app can be run, shown and tested without a Zoom account, and above all so that what
//! never happens when one looks (a lost token answer, a twin event, a cut download, an hour passing)
//! happens on demand. See the README for what it imitates, and how exactly.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use reelay_zoom_sim::{Config, NewRecording};
//!
//! let sim = reelay_zoom_sim::start(Config::default()).await?;
//! sim.control().set_webhook_url("http://127.0.0.1:9000/zoom/webhook");
//! sim.control().create_recording(NewRecording::of("UserAdaBerg00000000001"))?;
//! sim.control().settled().await;
//! sim.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod clock;
mod config;
mod conn;
mod control;
mod delivery;
mod download;
mod events;
mod faults;
pub mod files;
mod grants;
mod guard;
mod ids;
mod oauth;
mod ordered;
mod pages;
mod recordings;
mod request_log;
mod rest;
mod server;
mod signature;
mod sim;
mod tokens;
mod users;
mod world;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use clock::Clock;
pub use config::Config;
pub use control::{Control, ControlError, Created, FileView, RawEvent, Selection};
pub use delivery::{Attempt, Delivery, DeliveryState, Forgery, Target, Validation};
pub use events::{Disposal, Progress, UserChange};
pub use faults::{ArmedFault, Fault, NewFault, Point};
pub use files::{ContentKind, FileSpec};
pub use grants::{DeathCause, Grant};
pub use recordings::{NewFile, NewRecording, Presence, Recording, RecordingFile};
pub use request_log::ReceivedRequest;
pub use server::{Simulator, StartError, start};
pub use signature::{hmac_hex, sign};
pub use users::{NewUser, User};

/// Locks. A panic elsewhere while the lock was held leaves data that is still whole enough to look at.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
