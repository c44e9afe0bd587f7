//! Zoom's webhooks: the signature over the raw bytes, the endpoint check, what may rest in a queue,
//! and the events as far as Reelay acts on them.

pub mod change;
pub mod endpoint_validation;
pub mod event;
pub mod redact;
pub mod signature;
