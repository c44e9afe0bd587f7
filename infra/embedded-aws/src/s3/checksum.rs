//! S3's CRC checksums: computed while bytes arrive, combined when parts become an object.

use base64::{Engine, engine::general_purpose::STANDARD};
use crc_fast::{CrcAlgorithm, Digest, checksum_combine};
use s3s::{S3Error, S3ErrorCode, S3Result, dto::ChecksumAlgorithm, s3_error};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
}

impl Algorithm {
    pub(super) const ALL: [Self; 3] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme];

    pub(super) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => ChecksumAlgorithm::CRC32,
            Self::Crc32c => ChecksumAlgorithm::CRC32C,
            Self::Crc64Nvme => ChecksumAlgorithm::CRC64NVME,
        }
    }

    pub(super) fn parse(name: &ChecksumAlgorithm) -> S3Result<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name.as_str())
            .ok_or_else(|| s3_error!(NotImplemented, "Only CRC checksums are emulated"))
    }

    pub(super) fn dto(self) -> ChecksumAlgorithm {
        ChecksumAlgorithm::from_static(self.name())
    }

    fn crc(self) -> CrcAlgorithm {
        match self {
            Self::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
            Self::Crc32c => CrcAlgorithm::Crc32Iscsi,
            Self::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
        }
    }

    fn encode(self, crc: u64) -> String {
        STANDARD.encode(&crc.to_be_bytes()[8 - self.bytes()..])
    }

    /// The checksum of the whole object, combined from (checksum, size) of its parts in order.
    pub(super) fn full_object<'a>(
        self,
        parts: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> S3Result<String> {
        let mut combined = 0;
        for (index, (checksum, size)) in parts.into_iter().enumerate() {
            let bytes = self.decode(checksum)?;
            let part = bytes.iter().fold(0, |crc, byte| crc << 8 | u64::from(*byte));
            combined =
                if index == 0 { part } else { checksum_combine(self.crc(), combined, part, size) };
        }
        Ok(self.encode(combined))
    }

    /// The checksum of the parts' checksums in S3's format: `<base64>-<number of parts>`.
    pub(super) fn composite<'a>(
        self,
        parts: impl IntoIterator<Item = &'a str>,
    ) -> S3Result<String> {
        let mut hasher = Hasher::new(self);
        let mut count = 0;
        for checksum in parts {
            hasher.update(&self.decode(checksum)?);
            count += 1;
        }
        Ok(format!("{}-{count}", hasher.finish()))
    }

    /// Decodes a checksum and rejects other lengths.
    pub(super) fn decode(self, base64: &str) -> S3Result<Vec<u8>> {
        let decoded = STANDARD.decode(base64).ok();
        let valid = decoded.filter(|bytes| bytes.len() == self.bytes());
        valid.ok_or_else(|| {
            S3Error::with_message(
                S3ErrorCode::InvalidRequest,
                format!("Value for {} header is invalid.", self.header()),
            )
        })
    }
}

/// At most one base64 checksum of each algorithm.
#[derive(Debug, Clone, Default)]
pub(super) struct Checksums {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
}

impl Checksums {
    pub(super) fn get(&self, algorithm: Algorithm) -> Option<&str> {
        match algorithm {
            Algorithm::Crc32 => self.crc32.as_deref(),
            Algorithm::Crc32c => self.crc32c.as_deref(),
            Algorithm::Crc64Nvme => self.crc64nvme.as_deref(),
        }
    }

    pub(super) fn set(&mut self, algorithm: Algorithm, checksum: String) {
        let slot = match algorithm {
            Algorithm::Crc32 => &mut self.crc32,
            Algorithm::Crc32c => &mut self.crc32c,
            Algorithm::Crc64Nvme => &mut self.crc64nvme,
        };
        *slot = Some(checksum);
    }

    pub(super) fn only(&self, algorithm: Algorithm) -> Self {
        let mut only = Self::default();
        if let Some(checksum) = self.get(algorithm) {
            only.set(algorithm, checksum.to_owned());
        }
        only
    }

    pub(super) fn algorithms(&self) -> impl Iterator<Item = Algorithm> + '_ {
        let all = Algorithm::ALL.into_iter();
        all.filter(|algorithm| self.get(*algorithm).is_some())
    }
}

/// The checksum fields of an s3s structure as [`Checksums`].
macro_rules! checksums_of {
    ($dto:expr) => {
        $crate::s3::checksum::Checksums {
            crc32: $dto.checksum_crc32.clone(),
            crc32c: $dto.checksum_crc32c.clone(),
            crc64nvme: $dto.checksum_crc64nvme.clone(),
        }
    };
}
/// Sets the checksum fields of an s3s structure.
macro_rules! set_checksums {
    ($dto:expr, $checksums:expr) => {{
        let checksums: &$crate::s3::checksum::Checksums = $checksums;
        $dto.checksum_crc32 = checksums.crc32.clone();
        $dto.checksum_crc32c = checksums.crc32c.clone();
        $dto.checksum_crc64nvme = checksums.crc64nvme.clone();
    }};
}
pub(super) use {checksums_of, set_checksums};

/// A running checksum.
pub(super) struct Hasher {
    algorithm: Algorithm,
    digest: Box<Digest>,
}

impl Hasher {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, digest: Box::new(Digest::new(algorithm.crc())) }
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    pub(super) fn finish(self) -> String {
        self.algorithm.encode(self.digest.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum(algorithm: Algorithm, bytes: &[u8]) -> String {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    #[test]
    fn check_values_of_the_crc_catalogue_match() {
        // https://reveng.sourceforge.io/crc-catalogue/all.htm: checksums of "123456789".
        for (algorithm, expected) in [
            (Algorithm::Crc32, 0xcbf4_3926),
            (Algorithm::Crc32c, 0xe306_9283),
            (Algorithm::Crc64Nvme, 0xae8b_1486_0a79_9888),
        ] {
            let actual = checksum(algorithm, b"123456789");
            assert_eq!(actual, algorithm.encode(expected), "{algorithm:?}");
        }
    }

    #[test]
    fn parts_combine_to_the_checksum_of_the_whole() {
        let whole: Vec<u8> = (0..100_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        for algorithm in Algorithm::ALL {
            let parts: Vec<_> = whole
                .chunks(30_001)
                .map(|part| (checksum(algorithm, part), part.len() as u64))
                .collect();
            let parts = parts.iter().map(|(checksum, size)| (checksum.as_str(), *size));
            let combined = algorithm.full_object(parts).unwrap();
            assert_eq!(combined, checksum(algorithm, &whole), "{algorithm:?}");
        }
    }

    #[test]
    fn checksums_of_another_length_are_rejected() {
        assert!(Algorithm::Crc32.decode("AAAA").is_err());
        assert!(Algorithm::Crc64Nvme.decode("not base64").is_err());
        assert!(Algorithm::Crc32.decode("AAAAAA==").is_ok());
    }
}
