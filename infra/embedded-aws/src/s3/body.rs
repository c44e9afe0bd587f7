//! The body of a write, verified against the length and checksums that the client sent.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;
use s3s::{
    S3Result, TrailingHeaders,
    dto::{ChecksumAlgorithm, StreamingBlob},
    s3_error,
};

use super::{
    blob::{self, Received},
    checksum::{Algorithm, Checksums},
};

/// Length and checksums that the client sent with a body.
pub(super) struct Expected<'a> {
    pub(super) checksums: Checksums,
    /// `x-amz-sdk-checksum-algorithm`.
    pub(super) sdk_algorithm: Option<&'a ChecksumAlgorithm>,
    pub(super) content_md5: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
    pub(super) trailers: Option<&'a TrailingHeaders>,
}

pub(super) struct Verified {
    pub(super) received: Received,
    /// The algorithm of the checksum that the client sent.
    pub(super) algorithm: Option<Algorithm>,
}

/// Receives a body and computes CRC64NVME, the client's algorithm and `upload_algorithm`. Nothing is stored
/// after a mismatch.
pub(super) async fn receive(
    directory: &Path,
    body: Option<StreamingBlob>,
    expected: Expected<'_>,
    upload_algorithm: Option<Algorithm>,
) -> S3Result<Verified> {
    let in_trailer = expected.trailer_algorithm()?;
    let mut in_headers = expected.checksums.algorithms();
    let (in_header, second) = (in_headers.next(), in_headers.next());
    if second.is_some() || (in_header.is_some() && in_trailer.is_some()) {
        return Err(s3_error!(
            InvalidRequest,
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        ));
    }
    let algorithm = in_header.or(in_trailer);
    if expected.sdk_algorithm.is_some() && algorithm.is_none() {
        return Err(s3_error!(
            InvalidRequest,
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer \
             headers were found."
        ));
    }
    if let Some(algorithm) = in_header
        && let Some(checksum) = expected.checksums.get(algorithm)
    {
        algorithm.decode(checksum)?;
    }
    let content_md5 = expected.content_md5()?;

    let mut algorithms = vec![Algorithm::Crc64Nvme];
    for algorithm in algorithm.into_iter().chain(upload_algorithm) {
        if !algorithms.contains(&algorithm) {
            algorithms.push(algorithm);
        }
    }
    let received = blob::receive(directory, body, algorithms).await?;

    let length = expected.length();
    if length.is_some_and(|length| length != received.size) {
        return Err(s3_error!(
            IncompleteBody,
            "You did not provide the number of bytes specified by the Content-Length HTTP header"
        ));
    }
    if content_md5.is_some_and(|expected| expected != received.md5) {
        return Err(s3_error!(
            BadDigest,
            "The Content-MD5 you specified did not match what we received."
        ));
    }
    if let Some(algorithm) = algorithm {
        let checksum = match in_trailer {
            Some(algorithm) => Some(expected.trailer(algorithm)?),
            None => expected.checksums.get(algorithm).map(str::to_owned),
        };
        if checksum.as_deref() != received.checksums.get(algorithm) {
            return Err(s3_error!(
                BadDigest,
                "The {} you specified did not match the calculated checksum.",
                algorithm.name()
            ));
        }
    }
    Ok(Verified { received, algorithm })
}

impl Expected<'_> {
    /// Length of the content. In an `aws-chunked` body Content-Length includes the chunk headers.
    fn length(&self) -> Option<u64> {
        let decoded = self.headers.get("x-amz-decoded-content-length");
        let length = decoded.or_else(|| self.headers.get(http::header::CONTENT_LENGTH))?;
        length.to_str().ok()?.parse().ok()
    }

    fn trailer_algorithm(&self) -> S3Result<Option<Algorithm>> {
        let names = self.headers.get("x-amz-trailer");
        let names = names.and_then(|names| names.to_str().ok());
        for name in names.into_iter().flat_map(|names| names.split(',')) {
            let is = |algorithm: &Algorithm| algorithm.header() == name.trim();
            if let Some(algorithm) = Algorithm::ALL.into_iter().find(is) {
                return Ok(Some(algorithm));
            }
            if name.trim().starts_with("x-amz-checksum-") {
                return Err(s3_error!(NotImplemented, "Only CRC checksums are emulated"));
            }
        }
        Ok(None)
    }

    fn trailer(&self, algorithm: Algorithm) -> S3Result<String> {
        let checksum = self.trailers.and_then(|trailers| {
            trailers.read(|headers| {
                let value = headers.get(algorithm.header())?;
                value.to_str().ok().map(|value| value.trim().to_owned())
            })
        });
        let checksum = checksum.flatten().ok_or_else(|| {
            s3_error!(InvalidRequest, "The announced trailer is not in the request")
        })?;
        algorithm.decode(&checksum)?;
        Ok(checksum)
    }

    fn content_md5(&self) -> S3Result<Option<[u8; 16]>> {
        let decode = |value: &str| STANDARD.decode(value).ok()?.try_into().ok();
        match self.content_md5 {
            None => Ok(None),
            Some(value) => decode(value).map(Some).ok_or_else(|| {
                s3_error!(InvalidDigest, "The Content-MD5 you specified was invalid.")
            }),
        }
    }
}
