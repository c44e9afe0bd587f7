//! Server-rendered pages. Maud escapes every value.

pub(crate) mod error;
pub(crate) mod home;
pub(crate) mod integrations;
pub(crate) mod notifications;
pub(crate) mod recording;
pub(crate) mod recordings;

mod components;
mod layout;
mod messages;
