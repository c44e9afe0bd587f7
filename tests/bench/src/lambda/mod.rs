//! Lambda functions as Lambda runs them: each instance is a new process that polls the Runtime API and handles
//! one event at a time. All of them call the same backend.

mod backend;
mod function;
mod instance;
mod package;
mod payload;
mod runtime_api;

pub(crate) use self::backend::Backend;
pub(crate) use self::function::{FUNCTIONS, Function, WEBHOOK};
pub(crate) use self::instance::Instance;
pub(crate) use self::package::zipped_mib;
pub(crate) use self::payload::{BodySize, Payload};
