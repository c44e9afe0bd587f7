//! GetObject and HeadObject.

use std::{collections::VecDeque, ops};

use http::StatusCode;
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result, dto::*, s3_error};

use super::{
    Store,
    blob::{self, Stretch},
    checksum::put_sums,
    conditions::ReadCondition,
    object::{self, timestamp},
    operations::size,
};

impl Store {
    pub(super) fn read_object(
        &self,
        input: GetObjectInput,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        if input.part_number.is_some() {
            return Err(s3_error!(
                NotImplemented,
                "Reading by part number is not emulated"
            ));
        }
        let object = self.bucket(&input.bucket)?.object(&input.key)?;
        let facts = &object.facts;
        ReadCondition {
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            if_modified_since: input.if_modified_since.as_ref(),
            if_unmodified_since: input.if_unmodified_since.as_ref(),
        }
        .check(facts)?;
        let range = wanted_range(input.range.as_ref(), facts.size)?;
        let body = blob::read(stretches(&object, range.clone()));
        let description = &facts.description;
        let mut output = GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(StreamingBlob::wrap(body)),
            cache_control: input
                .response_cache_control
                .or(description.cache_control.clone()),
            content_disposition: input
                .response_content_disposition
                .or(description.content_disposition.clone()),
            content_encoding: input
                .response_content_encoding
                .or(description.content_encoding.clone()),
            content_language: input
                .response_content_language
                .or(description.content_language.clone()),
            content_length: Some(size(range.end - range.start)),
            content_type: input
                .response_content_type
                .or(description.content_type.clone())
                .or_else(default_type),
            e_tag: Some(facts.etag_dto()),
            expires: input.response_expires,
            last_modified: Some(timestamp(facts.modified)),
            metadata: description.metadata_dto(),
            ..Default::default()
        };
        if input.range.is_some() {
            output.content_range = Some(content_range(&range, facts.size));
            // A checksum of the whole is of no use to who has a part.
            return Ok(S3Response::with_status(output, StatusCode::PARTIAL_CONTENT));
        }
        if wants_checksum(input.checksum_mode.as_ref()) {
            put_sums!(output, &facts.sums);
            output.checksum_type = Some(facts.checksum_type());
        }
        Ok(S3Response::new(output))
    }

    pub(super) fn describe_object(
        &self,
        input: HeadObjectInput,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        if input.part_number.is_some() {
            return Err(s3_error!(
                NotImplemented,
                "Reading by part number is not emulated"
            ));
        }
        let object = self.bucket(&input.bucket)?.object(&input.key)?;
        let facts = &object.facts;
        ReadCondition {
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            if_modified_since: input.if_modified_since.as_ref(),
            if_unmodified_since: input.if_unmodified_since.as_ref(),
        }
        .check(facts)?;
        let range = wanted_range(input.range.as_ref(), facts.size)?;
        let description = &facts.description;
        let mut output = HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: input
                .response_cache_control
                .or(description.cache_control.clone()),
            content_disposition: input
                .response_content_disposition
                .or(description.content_disposition.clone()),
            content_encoding: input
                .response_content_encoding
                .or(description.content_encoding.clone()),
            content_language: input
                .response_content_language
                .or(description.content_language.clone()),
            content_length: Some(size(range.end - range.start)),
            content_type: input
                .response_content_type
                .or(description.content_type.clone())
                .or_else(default_type),
            e_tag: Some(facts.etag_dto()),
            expires: input.response_expires,
            last_modified: Some(timestamp(facts.modified)),
            metadata: description.metadata_dto(),
            ..Default::default()
        };
        if input.range.is_some() {
            output.content_range = Some(content_range(&range, facts.size));
            return Ok(S3Response::with_status(output, StatusCode::PARTIAL_CONTENT));
        }
        if wants_checksum(input.checksum_mode.as_ref()) {
            put_sums!(output, &facts.sums);
            output.checksum_type = Some(facts.checksum_type());
        }
        Ok(S3Response::new(output))
    }
}

/// What S3 says of objects whose maker said nothing.
fn default_type() -> Option<String> {
    Some("binary/octet-stream".to_owned())
}

fn wants_checksum(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

fn wanted_range(range: Option<&Range>, size: u64) -> S3Result<ops::Range<u64>> {
    match range {
        None => Ok(0..size),
        Some(range) => range.check(size).map_err(|_| {
            S3Error::with_message(
                S3ErrorCode::InvalidRange,
                "The requested range is not satisfiable",
            )
        }),
    }
}

fn content_range(range: &ops::Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end - 1)
}

/// Where the bytes of `range` are.
pub(super) fn stretches(object: &object::Object, range: ops::Range<u64>) -> VecDeque<Stretch> {
    let mut stretches = VecDeque::new();
    let mut start = 0;
    for segment in &object.segments {
        let end = start + segment.size;
        let from = range.start.max(start);
        let to = range.end.min(end);
        if from < to {
            stretches.push_back(Stretch {
                blob: segment.blob.clone(),
                offset: from - start,
                length: to - from,
            });
        }
        start = end;
    }
    stretches
}
