//! The edge towards HTTP: functions behind an API Gateway HTTP API (payload format 2.0), the answers
//! that they give, and the app's tokens at the door.

pub mod app_tokens;
mod key_set;
pub mod query;
pub mod response;
mod service;

pub use lambda_http::{Body, Request, Response};
pub use service::{public_url, run, service};
