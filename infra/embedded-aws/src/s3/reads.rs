//! GetObject, HeadObject and ListObjectsV2.

use std::ops::{self, Bound};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result, dto::*, s3_error};

use super::{
    blob,
    checksum::{Algorithm, set_checksums},
    conditions::ReadCondition,
    multipart::{count, page_size, size},
    store::Store,
};

/// Checks the input of GetObject or HeadObject and builds its output, which have the same fields.
macro_rules! object_response {
    ($store:expr, $input:expr, $output:ident) => {{
        let input = $input;
        if input.part_number.is_some() {
            return Err(s3_error!(NotImplemented, "Reads by part number are not emulated"));
        }
        let object = $store.bucket(&input.bucket)?.object(&input.key)?;
        ReadCondition {
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            if_modified_since: input.if_modified_since.as_ref(),
            if_unmodified_since: input.if_unmodified_since.as_ref(),
        }
        .check(&object)?;
        let range = requested_range(input.range.as_ref(), object.size)?;
        let is_partial = input.range.is_some();
        let description = &object.description;
        let mut output = $output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: input.response_cache_control.or(description.cache_control.clone()),
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
            content_range: is_partial
                .then(|| format!("bytes {}-{}/{}", range.start, range.end - 1, object.size)),
            // S3's default.
            content_type: input
                .response_content_type
                .or(description.content_type.clone())
                .or_else(|| Some("binary/octet-stream".to_owned())),
            e_tag: Some(object.etag_dto()),
            last_modified: Some(object.modified_at.clone()),
            metadata: description.metadata_dto(),
            ..Default::default()
        };
        let checksum_mode = input.checksum_mode.as_ref();
        if !is_partial && checksum_mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED) {
            set_checksums!(output, &object.checksums);
            output.checksum_type = Some(object.checksum_type.clone());
        }
        let status = if is_partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        (S3Response::with_status(output, status), object, range)
    }};
}

impl Store {
    pub(super) fn read_object(
        &self,
        input: GetObjectInput,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let (mut response, object, range) = object_response!(self, input, GetObjectOutput);
        let body = blob::read(object.slices(range));
        response.output.body = Some(StreamingBlob::wrap(body));
        Ok(response)
    }

    pub(super) fn describe_object(
        &self,
        input: HeadObjectInput,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let (response, ..) = object_response!(self, input, HeadObjectOutput);
        Ok(response)
    }

    pub(super) fn objects_page(
        &self,
        input: ListObjectsV2Input,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        if input.delimiter.is_some() || input.encoding_type.is_some() {
            return Err(s3_error!(
                NotImplemented,
                "Lists with delimiter or encoding are not emulated"
            ));
        }
        let bucket = self.bucket(&input.bucket)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let limit = page_size(input.max_keys)?;
        let after = match &input.continuation_token {
            Some(token) => decode_token(token)?,
            None => input.start_after.clone().unwrap_or_default(),
        };
        let contents = bucket.contents();
        let from = if after >= prefix {
            Bound::Excluded(after.as_str())
        } else {
            Bound::Included(prefix.as_str())
        };
        let mut matching = contents
            .objects
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&prefix))
            .peekable();
        let listed = matching.by_ref().take(limit).map(|(key, object)| Object {
            key: Some(key.clone()),
            size: Some(size(object.size)),
            e_tag: Some(object.etag_dto()),
            last_modified: Some(object.modified_at.clone()),
            checksum_type: Some(object.checksum_type.clone()),
            checksum_algorithm: Some(object.checksums.algorithms().map(Algorithm::dto).collect()),
            storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
            ..Default::default()
        });
        let listed: Vec<_> = listed.collect();
        let is_truncated = matching.peek().is_some();
        let last = listed.last().filter(|_| is_truncated);
        let last = last.and_then(|object| object.key.as_ref());
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: Some(count(listed.len())),
            is_truncated: Some(is_truncated),
            next_continuation_token: last.map(|key| URL_SAFE_NO_PAD.encode(key)),
            contents: Some(listed),
            max_keys: Some(count(limit)),
            prefix: Some(prefix),
            start_after: input.start_after,
            name: Some(input.bucket),
            continuation_token: input.continuation_token,
            ..Default::default()
        }))
    }
}

fn requested_range(range: Option<&Range>, size: u64) -> S3Result<ops::Range<u64>> {
    let Some(range) = range else {
        return Ok(0..size);
    };
    range.check(size).map_err(|_| {
        S3Error::with_message(S3ErrorCode::InvalidRange, "The requested range is not satisfiable")
    })
}

fn decode_token(token: &str) -> S3Result<String> {
    let key = URL_SAFE_NO_PAD.decode(token).ok();
    key.and_then(|key| String::from_utf8(key).ok())
        .ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
}
