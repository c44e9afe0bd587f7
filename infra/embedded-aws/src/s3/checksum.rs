//! The five checksums of S3: computed while bytes arrive, combined when parts become an object.

use base64::{Engine, engine::general_purpose::STANDARD};
use crc_fast::{CrcAlgorithm, checksum_combine};
use s3s::{S3Error, S3Result, dto::ChecksumAlgorithm, s3_error};
use serde::{Deserialize, Serialize};
use sha2::Digest;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub(super) const ALL: [Self; 5] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Sha1,
        Self::Sha256,
    ];

    pub(super) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => ChecksumAlgorithm::CRC32,
            Self::Crc32c => ChecksumAlgorithm::CRC32C,
            Self::Crc64Nvme => ChecksumAlgorithm::CRC64NVME,
            Self::Sha1 => ChecksumAlgorithm::SHA1,
            Self::Sha256 => ChecksumAlgorithm::SHA256,
        }
    }

    pub(super) fn parse(name: &ChecksumAlgorithm) -> S3Result<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name.as_str())
            .ok_or_else(|| s3_error!(InvalidRequest, "unknown checksum algorithm"))
    }

    pub(super) fn dto(self) -> ChecksumAlgorithm {
        ChecksumAlgorithm::from_static(self.name())
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// The checksum of `parts` in order: (checksum, length) each.
    pub(super) fn full_object<'a>(
        self,
        parts: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> S3Result<String> {
        let crc = self.crc().ok_or_else(|| {
            s3_error!(InvalidRequest, "the algorithm has no full-object checksum")
        })?;
        let mut whole = 0;
        for (index, (part, length)) in parts.into_iter().enumerate() {
            let part = self
                .decode(part)?
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            whole = if index == 0 {
                part
            } else {
                checksum_combine(crc, whole, part, length)
            };
        }
        Ok(STANDARD.encode(&whole.to_be_bytes()[8 - self.length()..]))
    }

    /// The checksum of the parts' checksums, as S3 writes it: `<base64>-<number of parts>`.
    pub(super) fn composite<'a>(
        self,
        parts: impl IntoIterator<Item = &'a str>,
    ) -> S3Result<String> {
        let mut hasher = Hasher::new(self);
        let mut count = 0;
        for part in parts {
            hasher.update(&self.decode(part)?);
            count += 1;
        }
        Ok(format!("{}-{count}", hasher.finish()))
    }

    /// Refuses what cannot be a checksum of this kind.
    pub(super) fn decode(self, base64: &str) -> S3Result<Vec<u8>> {
        let invalid = || {
            S3Error::with_message(
                s3s::S3ErrorCode::InvalidRequest,
                format!("Value for {} header is invalid.", self.header()),
            )
        };
        let bytes = STANDARD.decode(base64).map_err(|_| invalid())?;
        if bytes.len() == self.length() {
            Ok(bytes)
        } else {
            Err(invalid())
        }
    }
}

/// At most one checksum of each kind, in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sums {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) crc32: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) crc32c: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) crc64nvme: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sha1: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
}

impl Sums {
    pub(super) fn get(&self, algorithm: Algorithm) -> Option<&str> {
        match algorithm {
            Algorithm::Crc32 => self.crc32.as_deref(),
            Algorithm::Crc32c => self.crc32c.as_deref(),
            Algorithm::Crc64Nvme => self.crc64nvme.as_deref(),
            Algorithm::Sha1 => self.sha1.as_deref(),
            Algorithm::Sha256 => self.sha256.as_deref(),
        }
    }

    pub(super) fn set(&mut self, algorithm: Algorithm, sum: String) {
        let slot = match algorithm {
            Algorithm::Crc32 => &mut self.crc32,
            Algorithm::Crc32c => &mut self.crc32c,
            Algorithm::Crc64Nvme => &mut self.crc64nvme,
            Algorithm::Sha1 => &mut self.sha1,
            Algorithm::Sha256 => &mut self.sha256,
        };
        *slot = Some(sum);
    }

    pub(super) fn only(&self, algorithm: Algorithm) -> Self {
        let mut only = Self::default();
        if let Some(sum) = self.get(algorithm) {
            only.set(algorithm, sum.to_owned());
        }
        only
    }

    pub(super) fn algorithms(&self) -> impl Iterator<Item = Algorithm> + '_ {
        Algorithm::ALL
            .into_iter()
            .filter(|algorithm| self.get(*algorithm).is_some())
    }
}

/// Fields that many of S3's structures share, moved from and to [`Sums`].
macro_rules! sums_of {
    ($dto:expr) => {
        $crate::s3::checksum::Sums {
            crc32: $dto.checksum_crc32.clone(),
            crc32c: $dto.checksum_crc32c.clone(),
            crc64nvme: $dto.checksum_crc64nvme.clone(),
            sha1: $dto.checksum_sha1.clone(),
            sha256: $dto.checksum_sha256.clone(),
        }
    };
}
macro_rules! put_sums {
    ($dto:expr, $sums:expr) => {{
        let sums: &$crate::s3::checksum::Sums = $sums;
        $dto.checksum_crc32 = sums.crc32.clone();
        $dto.checksum_crc32c = sums.crc32c.clone();
        $dto.checksum_crc64nvme = sums.crc64nvme.clone();
        $dto.checksum_sha1 = sums.sha1.clone();
        $dto.checksum_sha256 = sums.sha256.clone();
    }};
}
pub(super) use {put_sums, sums_of};

enum State {
    Crc(Box<crc_fast::Digest>),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

/// One running checksum.
pub(super) struct Hasher {
    algorithm: Algorithm,
    state: State,
}

impl Hasher {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        let state = match (algorithm.crc(), algorithm) {
            (Some(crc), _) => State::Crc(Box::new(crc_fast::Digest::new(crc))),
            (None, Algorithm::Sha1) => State::Sha1(sha1::Sha1::new()),
            (None, _) => State::Sha256(sha2::Sha256::new()),
        };
        Self { algorithm, state }
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Crc(state) => state.update(bytes),
            State::Sha1(state) => state.update(bytes),
            State::Sha256(state) => state.update(bytes),
        }
    }

    pub(super) fn finish(self) -> String {
        match self.state {
            State::Crc(state) => {
                let sum = state.finalize().to_be_bytes();
                STANDARD.encode(&sum[8 - self.algorithm.length()..])
            }
            State::Sha1(state) => STANDARD.encode(state.finalize()),
            State::Sha256(state) => STANDARD.encode(state.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(algorithm: Algorithm, bytes: &[u8]) -> String {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    #[test]
    fn check_values_of_the_catalogue_hold() {
        // https://reveng.sourceforge.io/crc-catalogue/all.htm, the sums of "123456789".
        let check = b"123456789";
        for (algorithm, expected) in [
            (Algorithm::Crc32, 0xcbf4_3926_u32.to_be_bytes().to_vec()),
            (Algorithm::Crc32c, 0xe306_9283_u32.to_be_bytes().to_vec()),
            (
                Algorithm::Crc64Nvme,
                0xae8b_1486_0a79_9888_u64.to_be_bytes().to_vec(),
            ),
        ] {
            assert_eq!(
                sum(algorithm, check),
                STANDARD.encode(expected),
                "{algorithm:?}"
            );
        }
    }

    #[test]
    fn parts_combine_to_the_sum_of_the_whole() {
        let whole: Vec<u8> = (0..100_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let parts: Vec<_> = whole
                .chunks(30_001)
                .map(|p| (sum(algorithm, p), p.len() as u64))
                .collect();
            let combined = algorithm.full_object(parts.iter().map(|(sum, n)| (sum.as_str(), *n)));
            assert_eq!(combined.unwrap(), sum(algorithm, &whole), "{algorithm:?}");
        }
    }

    #[test]
    fn what_is_no_checksum_is_refused() {
        assert!(Algorithm::Crc32.decode("AAAA").is_err());
        assert!(Algorithm::Crc64Nvme.decode("not base64").is_err());
        assert!(Algorithm::Crc32.decode("AAAAAA==").is_ok());
    }
}
