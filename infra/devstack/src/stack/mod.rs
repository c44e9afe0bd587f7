//! The whole system, started and stopped as one.

mod assemble;
mod credentials;
mod environment;
mod error;
mod host;
mod options;
mod parameters;
mod running;

pub use self::error::StartError;
pub use self::options::{FunctionChange, Options, ZoomChoice};
pub use self::running::Stack;
