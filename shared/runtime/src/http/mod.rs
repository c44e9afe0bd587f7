//! HTTP functions behind an API Gateway HTTP API (payload format 2.0): requests, responses, pages, and
//! the verification of the app's tokens.

pub mod app_tokens;
mod key_set;
pub mod pages;
pub mod query;
pub mod response;
mod service;

pub use lambda_http::{Body, Request, Response};
pub use service::{public_url, run, service};
