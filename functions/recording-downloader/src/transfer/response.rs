//! Responses of download hosts: what they contain, and whether they belong to the same file.

use reelay_domain::upload::{SourceKind, UploadState};
use reelay_zoom::{ContentRange, Download};

use super::body::ResponseBody;
use super::error::TransferError;
use super::parts::PartLayout;
use super::timing::StallLimit;

/// A file or a range of it, whose body has not been read yet.
pub(crate) struct Response {
    pub(crate) head: ResponseHead,
    pub(crate) body: ResponseBody,
}

/// Headers of a response.
pub(crate) struct ResponseHead {
    pub(crate) content_length: Option<u64>,
    pub(crate) content_range: Option<ContentRange>,
    /// `ETag`, else `Last-Modified`.
    pub(crate) validator: Option<String>,
    pub(crate) kind: SourceKind,
}

impl Response {
    pub(crate) fn new(download: Download, kind: SourceKind, stall: StallLimit) -> Self {
        Self {
            head: ResponseHead {
                content_length: download.content_length,
                content_range: download.content_range,
                validator: download.etag.or(download.last_modified),
                kind,
            },
            body: ResponseBody::new(download.body, stall),
        }
    }
}

/// Version of a file at Zoom. All parts of an upload must come from the same version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileVersion {
    pub(crate) length: u64,
    pub(crate) validator: Option<String>,
    pub(crate) kind: SourceKind,
}

impl FileVersion {
    /// The version that a response contains.
    pub(crate) fn of_response(head: &ResponseHead, length: u64) -> Self {
        Self { length, validator: head.validator.clone(), kind: head.kind }
    }

    /// The version that an upload holds.
    pub(crate) fn of_upload(state: &UploadState, length: u64) -> Self {
        Self { length, validator: state.validator.clone(), kind: state.source }
    }

    /// Checks that a response contains a range of this version.
    pub(crate) fn verify(&self, head: &ResponseHead) -> Result<(), TransferError> {
        let range = head.content_range.ok_or(TransferError::RangeIgnored)?;
        let has_same_length = range.total.is_none_or(|total| total == self.length);
        let has_same_validator = match (&self.validator, &head.validator) {
            (Some(expected), Some(found)) if self.kind == head.kind => expected == found,
            _ => true,
        };
        if has_same_length && has_same_validator {
            Ok(())
        } else {
            Err(TransferError::SourceChanged)
        }
    }
}

/// How the file is transferred, as the response to the first request decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The response contains the whole file of this length, small enough for one request to S3.
    Whole(u64),
    /// The response contains the first part of a file of this length, and further ranges are available.
    Parts(u64),
    /// The response contains the whole file, too large for one request, or of unknown length.
    Stream(Option<u64>),
    /// The request must be repeated with a part size for this length, with or without a range.
    Repeat { length: Option<u64>, has_range: bool },
}

impl ResponseHead {
    /// Chooses the layout. `requested` is the length of the requested range, `None` for the whole file; a file of up
    /// to `max_length` bytes fits into one request to S3. `may_send_range`: no response so far has shown that ranges are
    /// unusable.
    pub(crate) fn layout(
        &self,
        requested: Option<u64>,
        max_length: u64,
        may_send_range: bool,
    ) -> Layout {
        match (self.content_range, self.content_length) {
            (Some(range), _) => match (range.total, requested) {
                (Some(total), _) if range.length() == total => Layout::Whole(total),
                (Some(total), Some(requested)) if PartLayout::new(total, requested).is_some() => {
                    Layout::Parts(total)
                }
                (Some(total), _) => Layout::Repeat { length: Some(total), has_range: true },
                (None, _) => Layout::Repeat { length: None, has_range: false },
            },
            (None, Some(length)) if length <= max_length => Layout::Whole(length),
            // The whole file was requested because Zoom had declared a small size.
            (None, Some(length)) if requested.is_none() && may_send_range => {
                Layout::Repeat { length: Some(length), has_range: true }
            }
            (None, length) => Layout::Stream(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reelay_domain::part_size::{MIB, MIN_PART_SIZE};

    fn range(length: u64, total: Option<u64>) -> Option<ContentRange> {
        Some(ContentRange { first: 0, last: length - 1, total })
    }

    #[test]
    fn first_response_decides_layout() {
        const PART: u64 = MIN_PART_SIZE;
        let huge = 100_000 * MIB;
        let repeat = |length, has_range| Layout::Repeat { length, has_range };
        let whole_range = range(PART, Some(PART));
        for (requested, content_range, content_length, expected) in [
            (Some(PART), range(PART, Some(3 * PART)), Some(PART), Layout::Parts(3 * PART)),
            (Some(PART), whole_range, Some(PART), Layout::Whole(PART)),
            (Some(PART), range(9, Some(9)), None, Layout::Whole(9)),
            (Some(PART), range(PART, None), None, repeat(None, false)),
            (Some(PART), range(PART, Some(huge)), Some(PART), repeat(Some(huge), true)),
            (Some(PART), None, Some(3 * PART), Layout::Stream(Some(3 * PART))),
            (Some(PART), None, Some(5), Layout::Whole(5)),
            (Some(PART), None, None, Layout::Stream(None)),
            (None, None, Some(5), Layout::Whole(5)),
            (None, None, Some(3 * PART), repeat(Some(3 * PART), true)),
            (None, None, None, Layout::Stream(None)),
        ] {
            let head = ResponseHead {
                content_length,
                content_range,
                validator: None,
                kind: SourceKind::Rest,
            };
            let case = format!("{requested:?} {content_range:?} {content_length:?}");
            assert_eq!(head.layout(requested, PART, true), expected, "{case}");
            // Ranges that were given up are not requested again.
            if requested.is_none() && matches!(expected, Layout::Repeat { .. }) {
                let stream = Layout::Stream(content_length);
                assert_eq!(head.layout(requested, PART, false), stream, "{case}");
            }
        }
    }
}
