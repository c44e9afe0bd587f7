//! An offline Zoom.
//!
//! It implements Zoom's side of what an app uses when its users connect and their cloud recordings
//! complete: the consent page and the token endpoints, the REST API for recordings, downloads with their
//! redirect to another host, and signed webhooks with Zoom's retries. An app can be developed, demonstrated
//! and tested with it without a Zoom account, and rare failures (a lost token response, a duplicate event,
//! a truncated download, an expired token) happen on demand. The README lists what it implements.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use reelay_zoom_sim::{Config, NewRecording};
//!
//! let sim = reelay_zoom_sim::start(Config::default()).await?;
//! sim.control().set_webhook_url("http://127.0.0.1:9000/zoom/webhook");
//! sim.control().create_recording(NewRecording::of("UserAdaBerg00000000001"))?;
//! sim.control().wait_until_settled().await;
//! sim.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod call;
mod clock;
mod config;
mod conn;
mod control;
mod deliveries;
mod download;
mod events;
mod faults;
mod files;
mod grants;
mod ids;
mod json;
mod oauth;
mod pages;
mod recordings;
mod request_log;
mod responses;
mod rest;
mod sender;
mod server;
mod signature;
mod state;
mod sync;
mod tokens;
mod users;
mod world;

pub use clock::AdvanceClock;
pub use config::{Client, Config};
pub use control::{Control, ControlError, Created, FileView, RawEvent, Selection};
pub use deliveries::{Attempt, Delivery, DeliveryState, Target, Validation};
pub use events::RecordingChange;
pub use faults::{ArmedFault, Fault, NewFault, Point};
pub use files::FileSpec;
pub use grants::{Grant, GrantEndReason};
pub use recordings::{NewFile, NewRecording, Presence, Recording, RecordingFile};
pub use reelay_clock::Clock;
pub use request_log::ReceivedRequest;
pub use responses::ErrorForm;
pub use server::{Simulator, StartError, start, start_with_clock};
pub use signature::{hmac_hex, sign};
pub use users::{NewUser, User};
