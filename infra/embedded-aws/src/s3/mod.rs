//! S3: protocol by s3s, store by this crate.
//!
//! s3s parses requests, verifies signatures (headers, presigned URLs, chunks) and writes responses. The
//! store follows S3's rules for [uploads](upload), [checksums](body) and [conditions](conditions) so closely that a
//! client's error here is an error at AWS.
//!
//! The operations in [operations] are emulated; s3s returns `NotImplemented` for all others. Encryption and
//! storage class headers are ignored. Parameters that would change a result but are not emulated return
//! `NotImplemented`.

mod blob;
mod body;
mod bucket;
mod checksum;
mod conditions;
mod lifecycle;
mod multipart;
mod object;
mod operations;
mod reads;
mod service;
mod signing_time;
mod store;
mod upload;
mod writes;

pub(crate) use self::{service::S3HttpService, store::Store};
