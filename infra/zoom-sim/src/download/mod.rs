//! Downloads: a URL that needs a token, a redirect to the content host, and the bytes there.

mod body;
pub(crate) mod content;
pub(crate) mod redirect;
mod signed_url;
