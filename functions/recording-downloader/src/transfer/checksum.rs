//! CRC-64/NVME checksums, as S3 computes them for whole objects and for parts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest, checksum_combine};

/// Starts an incremental checksum.
pub(crate) fn digest() -> Digest {
    Digest::new(CrcAlgorithm::Crc64Nvme)
}

/// Checksum of bytes in memory.
pub(crate) fn compute(bytes: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)
}

/// Checksum of a file from the (checksum, length) pairs of its parts in order.
pub(crate) fn combine(parts: impl IntoIterator<Item = (u64, u64)>) -> u64 {
    parts
        .into_iter()
        .reduce(|(file, length), (part, part_length)| {
            let file = checksum_combine(CrcAlgorithm::Crc64Nvme, file, part, part_length);
            (file, length + part_length)
        })
        .map_or_else(|| compute(&[]), |(file, _)| file)
}

/// Encodes a checksum as in S3's headers.
pub(crate) fn to_base64(crc: u64) -> String {
    STANDARD.encode(crc.to_be_bytes())
}

/// Decodes a checksum from S3's headers; `None` if it is malformed.
pub(crate) fn from_base64(text: &str) -> Option<u64> {
    let bytes: [u8; 8] = STANDARD.decode(text).ok()?.try_into().ok()?;
    Some(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combined_parts_equal_whole_file() {
        let file: Vec<u8> = (0..100_000u32).map(|n| (n * 7 % 251) as u8).collect();
        for size in [1, 977, 50_000, 100_000] {
            let parts = file.chunks(size);
            let parts = parts.map(|part| (compute(part), part.len() as u64));
            assert_eq!(combine(parts), compute(&file), "parts of {size} bytes");
        }
        assert_eq!(combine([]), compute(&[]));
    }

    #[test]
    fn base64_round_trips() {
        let crc = compute(b"123456789");
        // Check value of CRC-64/NVME in the CRC catalogue.
        assert_eq!(crc, 0xae8b_1486_0a79_9888);
        assert_eq!(from_base64(&to_base64(crc)), Some(crc));
        for malformed in ["", "AAAA", "AAAAAAAAAAAA", "!"] {
            assert_eq!(from_base64(malformed), None, "{malformed}");
        }
    }
}
