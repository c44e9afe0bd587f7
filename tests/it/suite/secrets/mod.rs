//! Secrets are shown by no type, and written nowhere.

mod needles;
mod run;
mod written;
