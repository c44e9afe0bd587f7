//! Layout of a file in parts. No I/O.

use reelay_zoom::ByteRange;

/// Bytes in a mebibyte.
pub(crate) const MIB: u64 = 1024 * 1024;

/// Smallest part in bytes. A file that is not larger is stored by one `PutObject`. S3 requires 5 MiB for every part
/// but the last.
pub(crate) const MIN_PART_SIZE: u64 = 8 * MIB;

/// Part size in bytes from which larger parts save little: what `UploadPart` costs is then a fiftieth of a month's
/// storage of the part.
const COMMON_PART_SIZE: u64 = 16 * MIB;

/// Largest part in bytes, except for files that need larger ones for [`MAX_PARTS`].
const MAX_PART_SIZE: u64 = 128 * MIB;

/// Maximum number of parts of an S3 multipart upload.
pub(crate) const MAX_PARTS: u64 = 10_000;

/// Part size in bytes for a file of unknown length: enough for 156 GiB.
const UNKNOWN_LENGTH_PART_SIZE: u64 = 16 * MIB;

/// Share of a large file that is in flight, in all connections together, and lost if the invocation ends: 1/100.
const MAX_IN_FLIGHT: u64 = 100;

/// Part size in bytes for a file of `length` bytes that is downloaded over several connections. Every connection has
/// a part; beyond that, parts are as large as [`COMMON_PART_SIZE`] and [`MAX_IN_FLIGHT`] allow, because S3 charges
/// for each.
pub(crate) fn part_size(length: Option<u64>, connections: u64) -> u64 {
    let Some(bytes) = length else {
        return UNKNOWN_LENGTH_PART_SIZE;
    };
    let shared = (bytes / connections).next_multiple_of(MIB).min(COMMON_PART_SIZE);
    let in_flight = bytes / (connections * MAX_IN_FLIGHT) / MIB * MIB;
    shared.max(in_flight.min(MAX_PART_SIZE)).max(smallest_part_size(length))
}

/// Smallest part size in bytes for a file: for a stream, whose current part is in memory, and for a slow source.
pub(crate) fn smallest_part_size(length: Option<u64>) -> u64 {
    length.map_or(UNKNOWN_LENGTH_PART_SIZE, |length| {
        length.div_ceil(MAX_PARTS).next_multiple_of(MIB).max(MIN_PART_SIZE)
    })
}

/// Number of connections to a slow source: what is in flight is then no more than with the smallest parts, so that
/// some part ends within the invocation.
pub(crate) fn slow_connections(connections: usize, part_size: u64) -> usize {
    let in_flight = MIN_PART_SIZE.saturating_mul(connections as u64);
    usize::try_from(in_flight / part_size.max(1))
        .map_or(connections, |slow| slow.clamp(1, connections))
}

/// Division of a file into parts, numbered from 1 as in S3. All parts but the last have the same size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartLayout {
    length: u64,
    part_size: u64,
}

impl PartLayout {
    /// Returns `None` if the file is empty or would need more than [`MAX_PARTS`] parts.
    pub(crate) fn new(length: u64, part_size: u64) -> Option<Self> {
        let is_valid = length > 0 && part_size > 0 && length.div_ceil(part_size) <= MAX_PARTS;
        is_valid.then_some(Self { length, part_size })
    }

    /// Number of parts.
    pub(crate) fn count(&self) -> u32 {
        // `new` limits it to 10,000.
        u32::try_from(self.length.div_ceil(self.part_size)).unwrap_or(u32::MAX)
    }

    /// Size of the whole file in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Size of a part in bytes; 0 for a number without a part.
    pub(crate) fn length_of(&self, number: u32) -> u64 {
        let Some(index) = number.checked_sub(1) else {
            return 0;
        };
        let start = u64::from(index) * self.part_size;
        self.length.saturating_sub(start).min(self.part_size)
    }

    /// Byte range of a part.
    pub(crate) fn range_of(&self, number: u32) -> Option<ByteRange> {
        let length = self.length_of(number);
        let start = u64::from(number.checked_sub(1)?) * self.part_size;
        ByteRange::new(start, (start + length).checked_sub(1)?)
    }

    /// Whether an uploaded part belongs to this layout.
    pub(crate) fn is_part(&self, number: u32, length: u64) -> bool {
        length > 0 && length == self.length_of(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * MIB;

    #[test]
    fn part_size_follows_length() {
        for (length, connections, mib) in [
            (1, 8, 8),
            (64 * MIB, 8, 8),
            (100 * MIB, 8, 13),
            (100 * MIB, 1, 16),
            (GIB, 8, 16),
            (12 * GIB, 8, 16),
            (20 * GIB, 8, 25),
            (20 * GIB, 16, 16),
            (100 * GIB, 8, 128),
            (1_000 * GIB, 8, 128),
            (5 * 1024 * GIB, 8, 525),
        ] {
            let size = part_size(Some(length), connections);
            assert_eq!(size, mib * MIB, "{length} bytes over {connections}");
            assert!(PartLayout::new(length, size).is_some(), "{length}");
        }
        assert!(part_size(None, 8) * MAX_PARTS > 150 * GIB);
    }

    #[test]
    fn at_most_a_hundredth_of_a_large_file_is_in_flight() {
        for connections in [1, 8, 16, 64] {
            for gib in [100, 101, 333, 1_000, 1_250] {
                let in_flight = part_size(Some(gib * GIB), connections) * connections;
                assert!(in_flight <= gib * GIB / 100, "{gib} GiB over {connections}");
            }
        }
    }

    #[test]
    fn slow_source_gets_small_parts_or_few_connections() {
        for (gib, mib) in [(1, 8), (100, 11)] {
            assert_eq!(smallest_part_size(Some(gib * GIB)), mib * MIB, "{gib} GiB");
        }
        for (connections, mib, slow) in [(8, 8, 8), (8, 16, 4), (8, 11, 5), (8, 128, 1), (1, 16, 1)]
        {
            assert_eq!(
                slow_connections(connections, mib * MIB),
                slow,
                "{connections} and {mib} MiB"
            );
        }
    }

    #[test]
    fn parts_cover_file_without_gap_or_overlap() {
        for (length, size) in [(1, 8), (8, 8), (9, 8), (16, 8), (1_000_003, 997)] {
            let layout = PartLayout::new(length, size).unwrap();
            let mut next = 0;
            for number in 1..=layout.count() {
                let range = layout.range_of(number).unwrap();
                assert_eq!(range.first(), next);
                assert_eq!(range.last(), Some(next + layout.length_of(number) - 1));
                next += layout.length_of(number);
            }
            assert_eq!(next, length);
            assert_eq!(layout.range_of(0), None);
            assert_eq!(layout.range_of(layout.count() + 1), None);
        }
    }

    #[test]
    fn part_of_other_length_is_foreign() {
        let layout = PartLayout::new(20, 8).unwrap();
        for (number, length, expected) in
            [(1, 8, true), (2, 7, false), (3, 4, true), (3, 8, false), (0, 0, false), (4, 0, false)]
        {
            assert_eq!(layout.is_part(number, length), expected, "{number} {length}");
        }
    }

    #[test]
    fn impossible_layouts_are_rejected() {
        for (length, size) in [(0, 8), (8, 0), (80_001, 8)] {
            assert_eq!(PartLayout::new(length, size), None, "{length} {size}");
        }
    }
}
