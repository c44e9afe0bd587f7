//! The body of a write: which checksums to compute, and whether the client's claims hold.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;
use s3s::{
    S3Result, TrailingHeaders,
    dto::{ChecksumAlgorithm, StreamingBlob},
    s3_error,
};

use super::{
    blob::{self, Received},
    checksum::{Algorithm, Sums},
};

/// What a client says of a body.
pub(super) struct Claims<'a> {
    pub(super) sums: Sums,
    /// `x-amz-sdk-checksum-algorithm`.
    pub(super) announced: Option<&'a ChecksumAlgorithm>,
    pub(super) content_md5: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
    pub(super) trailers: Option<&'a TrailingHeaders>,
}

pub(super) struct Verified {
    pub(super) received: Received,
    /// The algorithm of the client's checksum, if it gave one.
    pub(super) claimed: Option<Algorithm>,
}

/// Receives a body and computes CRC64NVME, the client's algorithm and `also`. On a mismatch nothing is
/// left.
pub(super) async fn receive(
    directory: &std::path::Path,
    body: Option<StreamingBlob>,
    claims: Claims<'_>,
    also: Option<Algorithm>,
) -> S3Result<Verified> {
    let trailing = claims.algorithm_in_trailer();
    let mut in_headers = claims.sums.algorithms();
    let (in_header, second) = (in_headers.next(), in_headers.next());
    if second.is_some() || (in_header.is_some() && trailing.is_some()) {
        return Err(s3_error!(
            InvalidRequest,
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        ));
    }
    let claimed = in_header.or(trailing);
    if claims.announced.is_some() && claimed.is_none() {
        return Err(s3_error!(
            InvalidRequest,
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer \
             headers were found."
        ));
    }
    if let Some(algorithm) = in_header
        && let Some(sum) = claims.sums.get(algorithm)
    {
        algorithm.decode(sum)?;
    }
    let content_md5 = claims.content_md5()?;

    let mut algorithms = vec![Algorithm::Crc64Nvme];
    for algorithm in claimed.into_iter().chain(also) {
        if !algorithms.contains(&algorithm) {
            algorithms.push(algorithm);
        }
    }
    let received = blob::receive(directory, body, algorithms).await?;

    if claims
        .length()
        .is_some_and(|length| length != received.size)
    {
        return Err(s3_error!(
            IncompleteBody,
            "You did not provide the number of bytes specified by the Content-Length HTTP header"
        ));
    }
    if content_md5.is_some_and(|claimed| claimed != received.md5) {
        return Err(s3_error!(
            BadDigest,
            "The Content-MD5 you specified did not match what we received."
        ));
    }
    if let Some(algorithm) = claimed {
        let wanted = match trailing {
            Some(algorithm) => Some(claims.trailer(algorithm)?),
            None => claims.sums.get(algorithm).map(str::to_owned),
        };
        if wanted.as_deref() != received.sums.get(algorithm) {
            return Err(s3_error!(
                BadDigest,
                "The {} you specified did not match the calculated checksum.",
                algorithm.name()
            ));
        }
    }
    Ok(Verified { received, claimed })
}

impl Claims<'_> {
    /// Of the object's bytes: in a body that is `aws-chunked`, Content-Length counts the wrapping too.
    fn length(&self) -> Option<u64> {
        let decoded = self.headers.get("x-amz-decoded-content-length");
        let length = decoded.or_else(|| self.headers.get(http::header::CONTENT_LENGTH))?;
        length.to_str().ok()?.parse().ok()
    }

    fn algorithm_in_trailer(&self) -> Option<Algorithm> {
        let announced = self.headers.get("x-amz-trailer")?.to_str().ok()?;
        Algorithm::ALL.into_iter().find(|algorithm| {
            announced
                .split(',')
                .any(|name| name.trim() == algorithm.header())
        })
    }

    fn trailer(&self, algorithm: Algorithm) -> S3Result<String> {
        let sum = self.trailers.and_then(|trailers| {
            trailers.read(|headers| {
                let value = headers.get(algorithm.header())?;
                value.to_str().ok().map(|value| value.trim().to_owned())
            })
        });
        let sum = sum.flatten().ok_or_else(|| {
            s3_error!(
                InvalidRequest,
                "The trailer announced is not in the request"
            )
        })?;
        algorithm.decode(&sum)?;
        Ok(sum)
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
