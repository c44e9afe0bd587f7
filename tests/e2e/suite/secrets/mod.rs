//! No secret is printed by `Debug` or written anywhere.

mod debug_output;
mod leaks;
pub(crate) mod run;
mod search;
