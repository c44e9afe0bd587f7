//! Transfer of one file from Zoom to S3 in bounded memory.
//!
//! The engine knows a [`SourceResolver`], a bucket and a [`Journal`], but no queue and no table.
//!
//! - The first request is for the first part. Its response contains the file's length and validator, and its
//!   body is the first part.
//! - If the host supports ranges, several connections download parts concurrently, each response body being
//!   the body of its `UploadPart` request. Otherwise one stream is divided into parts, one of them in memory.
//!   A file that fits into one part is stored by one `PutObject`.
//! - `ListParts` says which parts are uploaded; the journal says which version of the file they belong to. A
//!   run that resumes compares both with what Zoom sends now.

mod body;
mod checksum;
mod content;
mod error;
mod journal;
mod object;
mod parallel;
mod parts;
mod response;
mod run;
mod settings;
mod source;
mod timing;
mod upload_body;

pub use self::error::TransferError;
pub use self::journal::Journal;
pub use self::object::ObjectSpec;
pub use self::run::{Outcome, StoredFile, Transfer};
pub use self::settings::Settings;
pub use self::source::{Candidate, Listing, SourceResolver};
pub use self::timing::{ProgressInterval, StallLimit};
