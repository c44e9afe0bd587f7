//! No secret is printed by `Debug` or written anywhere.

mod debug_output;
mod leaks;
mod persons;
pub(crate) mod run;
mod search;
