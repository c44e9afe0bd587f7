//! The rule from which the bytes of a file follow.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use sha2::{Digest, Sha256};

use super::kind::ContentKind;
use super::text::{Text, mix};

/// Size of the chunks in which files are read and sent.
pub(crate) const CHUNK: u64 = 256 * 1024;
/// Length of a block of noise.
const NOISE_BLOCK: usize = 4096;
const VIDEO: &[u8] = include_bytes!("../../assets/clip.mp4");
const AUDIO: &[u8] = include_bytes!("../../assets/clip.m4a");

/// A file that is computed from its id, kind, size and version. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FileSpec {
    kind: ContentKind,
    size: u64,
    seed: u64,
    head: Arc<[u8]>,
    blocks: Blocks,
    tail: Arc<[u8]>,
}

#[derive(Debug, Clone)]
enum Blocks {
    /// Random-looking bytes: the same for each block but for the number in front.
    Noise(Arc<[u8]>),
    /// Lines of text, all of the same length.
    Lines(Text),
}

impl FileSpec {
    #[cfg(test)]
    fn new(id: &str, kind: ContentKind, size: u64) -> Self {
        Self::with_version(id, kind, size, 0)
    }

    /// Returns a version of the file `id`. Versions differ in their bytes and their `ETag`; a text file
    /// too small for one line keeps its bytes.
    pub(crate) fn with_version(id: &str, kind: ContentKind, size: u64, version: u32) -> Self {
        let hash = Sha256::new()
            .chain_update(id)
            .chain_update([0])
            .chain_update(version.to_be_bytes())
            .finalize();
        let mut seed = [0; 8];
        seed.copy_from_slice(&hash[..8]);
        let seed = u64::from_be_bytes(seed);
        let (head, blocks, tail) = match kind {
            ContentKind::Mp4 => (padded(VIDEO, size), Blocks::noise(seed), Vec::new()),
            ContentKind::M4a => (padded(AUDIO, size), Blocks::noise(seed), Vec::new()),
            ContentKind::Binary => (Vec::new(), Blocks::noise(seed), Vec::new()),
            ContentKind::Vtt | ContentKind::Txt | ContentKind::Csv | ContentKind::Json => {
                let text = Text::new(kind, seed);
                let (head, tail) = text.head_and_tail(size);
                (head, Blocks::Lines(text), tail)
            }
        };
        Self { kind, size, seed, head: head.into(), blocks, tail: tail.into() }
    }

    pub(crate) fn kind(&self) -> ContentKind {
        self.kind
    }

    /// Returns the length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns a strong validator: equal for equal bytes.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("\"{:016x}-{:x}\"", self.seed, self.size)
    }

    /// Returns the bytes of `range`, which is cut at the end of the file.
    #[must_use]
    pub fn bytes(&self, range: Range<u64>) -> Bytes {
        let end = range.end.min(self.size);
        let mut offset = range.start.min(end);
        let mut out = Vec::with_capacity(usize::try_from(end - offset).unwrap_or_default());
        while offset < end {
            let (source, source_start) = self.source_at(offset);
            let start = usize::try_from(offset - source_start).unwrap_or(usize::MAX);
            let available = source.get(start..).unwrap_or_default();
            let wanted = usize::try_from(end - offset).unwrap_or(usize::MAX);
            let taken = &available[..wanted.min(available.len())];
            if taken.is_empty() {
                break;
            }
            out.extend_from_slice(taken);
            offset += taken.len() as u64;
        }
        out.into()
    }

    /// The head, block or tail that holds `offset`, and where in the file it begins.
    fn source_at(&self, offset: u64) -> (Cow<'_, [u8]>, u64) {
        let blocks_start = self.head.len() as u64;
        let tail_start = self.size.saturating_sub(self.tail.len() as u64);
        if offset < blocks_start {
            return (Cow::Borrowed(&self.head), 0);
        }
        if offset >= tail_start {
            return (Cow::Borrowed(&self.tail), tail_start);
        }
        let length = self.blocks.block_length();
        let number = (offset - blocks_start) / length;
        let start = blocks_start + number * length;
        (Cow::Owned(self.blocks.block(self.seed, number)), start)
    }

    /// Returns the bytes of `range` in chunks of at most `chunk` bytes.
    pub(crate) fn chunks(
        &self,
        range: Range<u64>,
        chunk: u64,
    ) -> impl Iterator<Item = Bytes> + Send + use<> {
        let this = self.clone();
        let end = range.end.min(self.size);
        let mut offset = range.start.min(end);
        std::iter::from_fn(move || {
            let next = end.min(offset.saturating_add(chunk.max(1)));
            let bytes = this.bytes(offset..next);
            offset = next;
            (!bytes.is_empty()).then_some(bytes)
        })
    }

    /// Returns the SHA-256 of the whole file in hex. The cost grows with the size.
    #[must_use]
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        self.chunks(0..self.size, CHUNK).for_each(|chunk| hash.update(&chunk));
        hex::encode(hash.finalize())
    }

    /// Returns the CRC-64/NVME of the whole file, as S3 stores it. The cost grows with the size.
    #[must_use]
    pub fn crc64_nvme(&self) -> u64 {
        let mut crc = Crc::new(CrcAlgorithm::Crc64Nvme);
        self.chunks(0..self.size, CHUNK).for_each(|chunk| crc.update(&chunk));
        crc.finalize()
    }
}

impl Blocks {
    fn noise(seed: u64) -> Self {
        let words = (0..(NOISE_BLOCK / 8) as u64).flat_map(|word| mix(seed ^ word).to_be_bytes());
        Self::Noise(words.collect())
    }

    fn block_length(&self) -> u64 {
        match self {
            Self::Noise(noise) => noise.len() as u64,
            Self::Lines(text) => text.line_length(),
        }
    }

    fn block(&self, seed: u64, number: u64) -> Vec<u8> {
        match self {
            Self::Noise(noise) => {
                let mut block = noise.to_vec();
                block[..8].copy_from_slice(&mix(seed.wrapping_add(mix(number))).to_be_bytes());
                block
            }
            Self::Lines(text) => text.line(number).into_bytes(),
        }
    }
}

/// A clip and the header of a `free` box that reaches to the end of the file (ISO/IEC 14496-12, 4.2 and
/// 8.1.2; players skip it). A file too small for both is noise.
fn padded(clip: &[u8], size: u64) -> Vec<u8> {
    const HEADER: u64 = 16;
    match size.checked_sub(clip.len() as u64) {
        Some(0) => clip.to_vec(),
        Some(rest) if rest >= HEADER => {
            // A size of 1 means that the size follows in 64 bits.
            [clip, &[0, 0, 0, 1], b"free", &rest.to_be_bytes()].concat()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [ContentKind; 7] = [
        ContentKind::Mp4,
        ContentKind::M4a,
        ContentKind::Vtt,
        ContentKind::Txt,
        ContentKind::Csv,
        ContentKind::Json,
        ContentKind::Binary,
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn range_is_slice_of_whole(kind in prop::sample::select(&KINDS[..]), size in 0_u64..60_000, a in 0_u64..61_000, b in 0_u64..61_000) {
            let file = FileSpec::new("file", kind, size);
            let whole = file.bytes(0..size);
            prop_assert_eq!(whole.len() as u64, size);
            let (start, end) = (a.min(b), a.max(b));
            let index = |offset: u64| usize::try_from(offset.min(size)).expect("small");
            prop_assert_eq!(file.bytes(start..end), whole.slice(index(start)..index(end)));
        }
    }

    #[test]
    fn huge_file_costs_only_the_range() {
        const SIZE: u64 = 100 << 30;
        let file = FileSpec::new("huge", ContentKind::Mp4, SIZE);
        let offset = (70 << 30) + 12_345;
        let range = file.bytes(offset..offset + 10_000);
        assert_eq!(range.slice(4_000..5_000), file.bytes(offset + 4_000..offset + 5_000));
        assert_ne!(range, file.bytes(offset + (1 << 20)..offset + (1 << 20) + 10_000));
        assert_eq!(file.bytes(SIZE - 7..SIZE + 100).len(), 7);
    }

    #[test]
    fn versions_and_ids_differ() {
        for kind in KINDS {
            let size = 100_000;
            let one = FileSpec::new("one", kind, size);
            for other in
                [FileSpec::new("two", kind, size), FileSpec::with_version("one", kind, size, 1)]
            {
                assert_ne!(one.sha256(), other.sha256(), "{kind:?}");
                assert_ne!(one.etag(), other.etag());
            }
            assert_eq!(one.crc64_nvme(), FileSpec::new("one", kind, size).crc64_nvme());
        }
    }

    #[test]
    fn media_is_a_sequence_of_boxes() {
        for (kind, size) in [
            (ContentKind::Mp4, 2_175_742),
            (ContentKind::M4a, 434_147),
            (ContentKind::Mp4, 100 << 30),
            (ContentKind::M4a, AUDIO.len() as u64),
        ] {
            let file = FileSpec::new("media", kind, size);
            let mut boxes = Vec::new();
            let mut offset = 0;
            while offset < size {
                let header = file.bytes(offset..offset + 16);
                let word = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
                let length = match word(&header[..4]) {
                    1 => word(&header[8..16]),
                    length => length,
                };
                boxes.push(String::from_utf8_lossy(&header[4..8]).into_owned());
                offset += length;
            }
            assert_eq!(offset, size, "{boxes:?}");
            assert_eq!(&boxes[..2], ["ftyp", "moov"], "faststart");
        }
    }
}
