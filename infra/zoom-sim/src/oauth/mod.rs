//! OAuth 2.0 as Zoom implements it for user-managed apps.

pub(crate) mod authorize;
pub(crate) mod token;
