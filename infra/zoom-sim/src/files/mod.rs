//! The bytes of recording files, computed by offset instead of stored.
//!
//! A file is a pure function of its id, kind, size and version: a head, blocks of equal length that are
//! computed from their number, and a tail. Any range of a 100 GiB file therefore costs only that range,
//! and a test can compute the exact bytes that a client must have stored.

mod kind;
mod spec;
mod text;

pub(crate) use kind::ContentKind;
pub(crate) use spec::CHUNK;
pub use spec::FileSpec;
