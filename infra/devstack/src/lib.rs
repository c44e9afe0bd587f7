//! t
mod config;
mod deploy;
mod functions;
mod http_api;
mod names;
pub mod template;
