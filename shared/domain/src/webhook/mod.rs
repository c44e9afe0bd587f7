//! Zoom's webhooks: signatures, endpoint validation, redaction, and the events that Reelay processes.

pub mod change;
pub mod endpoint_validation;
pub mod event;
mod known_fields;
mod lenient;
pub mod meeting;
pub mod redact;
pub mod signature;
pub mod unparsed;
pub(crate) mod value;
