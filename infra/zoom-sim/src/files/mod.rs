//! The bytes of recording files, made from arithmetic instead of stored.
//!
//! A file is a pure function of its id, kind and size: a short head, a run of blocks of one length of
//! which each is computed from its number, and a tail. So a range at any offset of a 100 GiB file costs
//! no more than the range itself, nothing is kept in memory or on disk, and a test can compute the very
//! bytes that a client should have stored.

mod h264;
mod isobmff;
mod layout;
mod text;

use std::ops::Range;

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use layout::Layout;

/// What a file contains; decides its bytes and its `Content-Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentKind {
    /// A playable MP4: a still H.264 picture with silent AAC sound, then padding.
    Mp4,
    /// A playable M4A: silent AAC sound, then padding.
    M4a,
    /// WebVTT cues.
    Vtt,
    /// A chat log.
    Txt,
    /// A poll report.
    Csv,
    /// A timeline.
    Json,
    /// Bytes without a meaning (a thumbnail, an unknown type).
    Binary,
}

impl ContentKind {
    /// The kind behind Zoom's `file_extension`.
    #[must_use]
    pub fn from_extension(extension: &str) -> Self {
        match extension.to_ascii_uppercase().as_str() {
            "MP4" => Self::Mp4,
            "M4A" => Self::M4a,
            "VTT" => Self::Vtt,
            "TXT" => Self::Txt,
            "CSV" => Self::Csv,
            "JSON" => Self::Json,
            _ => Self::Binary,
        }
    }

    /// The `Content-Type` under which such a file is served.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::M4a => "audio/mp4",
            Self::Vtt => "text/vtt",
            Self::Txt => "text/plain",
            Self::Csv => "text/csv",
            Self::Json => "application/json",
            Self::Binary => "application/octet-stream",
        }
    }
}

/// A file that exists only as a rule: its bytes follow from id, kind, size and version.
#[derive(Debug, Clone)]
pub struct FileSpec {
    kind: ContentKind,
    size: u64,
    seed: u64,
    layout: Layout,
}

impl FileSpec {
    /// The first version of the file `id`.
    #[must_use]
    pub fn new(id: &str, kind: ContentKind, size: u64) -> Self {
        Self::with_version(id, kind, size, 0)
    }

    /// Another version of the same file has other bytes and another `ETag`; a text file too small to
    /// vary keeps its bytes.
    #[must_use]
    pub fn with_version(id: &str, kind: ContentKind, size: u64, version: u32) -> Self {
        let mut hash = Sha256::new();
        hash.update(id.as_bytes());
        hash.update([0]);
        hash.update(version.to_be_bytes());
        let mut seed = [0; 8];
        seed.copy_from_slice(&hash.finalize()[..8]);
        let seed = u64::from_be_bytes(seed);
        let layout = match kind {
            ContentKind::Mp4 => isobmff::video(seed, size),
            ContentKind::M4a => isobmff::audio(seed, size),
            ContentKind::Vtt => text::vtt(seed, size),
            ContentKind::Txt => text::chat(seed, size),
            ContentKind::Csv => text::poll(seed, size),
            ContentKind::Json => text::timeline(seed, size),
            ContentKind::Binary => Layout::noise(Vec::new(), seed, size),
        };
        Self {
            kind,
            size,
            seed,
            layout,
        }
    }

    /// What it contains.
    #[must_use]
    pub fn kind(&self) -> ContentKind {
        self.kind
    }

    /// Its length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// A strong validator: the same for the same bytes.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("\"{:016x}-{:x}\"", self.seed, self.size)
    }

    /// The bytes of `range`, cut off at the end of the file.
    #[must_use]
    pub fn bytes(&self, range: Range<u64>) -> Bytes {
        let end = range.end.min(self.size);
        let start = range.start.min(end);
        let mut out = Vec::with_capacity(usize::try_from(end - start).unwrap_or_default());
        self.layout.append(start..end, &mut out);
        out.into()
    }

    /// The bytes of `range` in pieces of at most `piece` bytes.
    pub fn pieces(
        &self,
        range: Range<u64>,
        piece: u64,
    ) -> impl Iterator<Item = Bytes> + Send + use<> {
        let this = self.clone();
        let end = range.end.min(self.size);
        let mut at = range.start.min(end);
        std::iter::from_fn(move || {
            if at == end {
                return None;
            }
            let next = end.min(at.saturating_add(piece.max(1)));
            let bytes = this.bytes(at..next);
            at = next;
            Some(bytes)
        })
    }

    /// SHA-256 of the whole file, in hex. Reads it all: think twice for a huge one.
    #[must_use]
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        self.pieces(0..self.size, PIECE)
            .for_each(|piece| hash.update(&piece));
        hex::encode(hash.finalize())
    }

    /// CRC-64/NVME of the whole file, the checksum that object stores keep. Reads it all.
    #[must_use]
    pub fn crc64_nvme(&self) -> u64 {
        let mut crc = Crc::new(CrcAlgorithm::Crc64Nvme);
        self.pieces(0..self.size, PIECE)
            .for_each(|piece| crc.update(&piece));
        crc.finalize()
    }
}

/// The size of the pieces in which files are read and sent.
pub(crate) const PIECE: u64 = 256 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> impl Strategy<Value = ContentKind> {
        prop_oneof![
            Just(ContentKind::Mp4),
            Just(ContentKind::M4a),
            Just(ContentKind::Vtt),
            Just(ContentKind::Txt),
            Just(ContentKind::Csv),
            Just(ContentKind::Json),
            Just(ContentKind::Binary),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_range_is_a_slice_of_the_whole(kind in kinds(), size in 0_u64..40_000, a in 0_u64..41_000, b in 0_u64..41_000) {
            let file = FileSpec::new("file", kind, size);
            let whole = file.bytes(0..size);
            prop_assert_eq!(whole.len() as u64, size);
            let (start, end) = (a.min(b), a.max(b));
            let cut = |at: u64| usize::try_from(at.min(size)).expect("small");
            prop_assert_eq!(file.bytes(start..end), whole.slice(cut(start)..cut(end)));
        }
    }

    #[test]
    fn huge_files_cost_only_the_range() {
        const SIZE: u64 = 100 << 30;
        let file = FileSpec::new("huge", ContentKind::Mp4, SIZE);
        let at = (70 << 30) + 12_345;
        let a = file.bytes(at..at + 10_000);
        let b = file.bytes(at + 4_000..at + 5_000);
        assert_eq!(a.slice(4_000..5_000), b);
        assert_eq!(file.bytes(SIZE - 7..SIZE + 100).len(), 7);
        assert_ne!(
            a,
            file.bytes(at + (1 << 20)..at + (1 << 20) + 10_000),
            "places differ"
        );
    }

    #[test]
    fn versions_and_ids_differ() {
        for kind in [
            ContentKind::Mp4,
            ContentKind::Vtt,
            ContentKind::Csv,
            ContentKind::Json,
        ] {
            let one = FileSpec::new("one", kind, 5_000);
            for other in [
                FileSpec::new("two", kind, 5_000),
                FileSpec::with_version("one", kind, 5_000, 1),
            ] {
                assert_ne!(one.sha256(), other.sha256());
                assert_ne!(one.etag(), other.etag());
            }
            assert_eq!(
                one.crc64_nvme(),
                FileSpec::new("one", kind, 5_000).crc64_nvme()
            );
        }
    }
}
