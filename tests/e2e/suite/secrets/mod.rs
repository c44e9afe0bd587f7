//! Secrets are shown by no type, and written nowhere.

mod declarations;
mod needles;
pub(crate) mod run;
mod shown;
mod written;
