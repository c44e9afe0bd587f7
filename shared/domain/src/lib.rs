//! What Reelay decides, as functions of values.
//!
//! Nothing here does I/O, reads a clock or draws randomness: the time and the random bytes are
//! arguments. So every rule can be tested on its own, and a test can stand at any moment in time.
//! Input from outside is parsed here, once, into types that prove what was checked.

pub mod browser_secret;
pub mod claim;
pub mod cursor;
pub mod ids;
pub mod jwt;
pub mod keys;
pub mod link;
pub mod maintenance;
pub mod message;
pub mod notification;
pub mod object_key;
pub mod operator_url;
pub mod pkce;
pub mod recording;
pub mod return_url;
pub mod scope;
pub mod signed_state;
pub mod source_cipher;
pub mod upload;
pub mod webhook;
