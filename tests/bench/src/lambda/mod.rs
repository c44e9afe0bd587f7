//! Functions as Lambda runs them: each a process of its own, spawned afresh, that asks the Runtime API for
//! events and answers them, one at a time. What they call is there for all of them alike: the engines of the
//! devstack, over loopback HTTP, with what `template.yaml` declares.

mod client;
mod event;
mod instance;
mod package;
mod runtime_api;
mod world;

use crate::peers::PeerError;

pub(crate) use self::client::{Client, FUNCTIONS, WEBHOOK, Work};
pub(crate) use self::event::Size;
pub(crate) use self::instance::Instance;
pub(crate) use self::package::zipped;
pub(crate) use self::world::World;

/// What ends a benchmark of functions.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LambdaError {
    /// The peers.
    #[error(transparent)]
    Peers(#[from] PeerError),
    /// The devstack.
    #[error(transparent)]
    Stack(#[from] reelay_devstack::StartError),
    /// Reelay's functions could not be built.
    #[error("cargo build: {0}")]
    Build(String),
    /// A function did not do what it was to do.
    #[error("{client}: {reason}")]
    Function {
        /// Which one.
        client: String,
        /// What it did.
        reason: String,
    },
    /// The event to send.
    #[error("event: {0}")]
    Event(String),
    /// A deployment package.
    #[error("zip: {0}")]
    Package(String),
    /// A file, a process, or a port.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// What was to be printed.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}
