//! Secrets are shown by no type, and written nowhere.

mod declarations;
mod needles;
mod run;
mod shown;
mod written;
