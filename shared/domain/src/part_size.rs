//! Sizes of the parts in which a file is downloaded and uploaded.
//!
//! S3 charges for each part and accepts at most 10,000
//! ([S3](https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)). A part must be uploaded within one invocation:
//! when the invocation ends, the bytes of unfinished parts are lost.

/// Bytes in a mebibyte.
pub const MIB: u64 = 1024 * 1024;

/// Smallest part in bytes. A file that is not larger is stored by one `PutObject`. S3 requires 5 MiB for every part
/// but the last.
pub const MIN_PART_SIZE: u64 = 8 * MIB;

/// Part size in bytes from which larger parts save little: what `UploadPart` costs is then an eightieth of a month's
/// storage of the part.
const COMMON_PART_SIZE: u64 = 16 * MIB;

/// Largest part in bytes, except for files that need larger ones for [`MAX_PARTS`].
const MAX_PART_SIZE: u64 = 128 * MIB;

/// Maximum number of parts of an S3 multipart upload.
pub const MAX_PARTS: u64 = 10_000;

/// Largest file in bytes: no recording is larger. Buffers are allocated by the announced length.
pub const MAX_FILE_SIZE: u64 = 5 * 1024 * 1024 * MIB;

/// Part size in bytes for a file of unknown length: enough for 156 GiB.
const UNKNOWN_LENGTH_PART_SIZE: u64 = 16 * MIB;

/// At most one part in this many of a large file is in flight, over all connections together.
const LENGTH_PER_IN_FLIGHT: u64 = 100;

/// Number of parts below which larger parts are not chosen, so that connections work at once. A file of less than
/// four times [`MIN_PART_SIZE`] has fewer.
const MIN_PARTS: u64 = 4;

/// Part size in bytes for a file of `length` bytes that is downloaded over several connections: a quarter of the file up to
/// [`COMMON_PART_SIZE`]; of large files more, up to [`MAX_PART_SIZE`], if at most a hundredth of the file is in flight.
pub fn part_size(length: Option<u64>, connections: u64) -> u64 {
    let Some(bytes) = length else {
        return UNKNOWN_LENGTH_PART_SIZE;
    };
    let in_whole_mib = |size: u64| size / MIB * MIB;
    let common = in_whole_mib(bytes / MIN_PARTS).min(COMMON_PART_SIZE);
    let large = in_whole_mib(bytes / (connections * LENGTH_PER_IN_FLIGHT)).min(MAX_PART_SIZE);
    common.max(large).max(smallest_part_size(length))
}

/// Smallest part size in bytes for a file: for a stream, whose current part is in memory, and for a slow source.
pub fn smallest_part_size(length: Option<u64>) -> u64 {
    length.map_or(UNKNOWN_LENGTH_PART_SIZE, |length| {
        length.div_ceil(MAX_PARTS).next_multiple_of(MIB).max(MIN_PART_SIZE)
    })
}

/// Number of connections to a slow source: what is in flight is then no more than with the smallest parts, so that
/// some part ends within the invocation.
pub fn slow_connections(connections: usize, part_size: u64) -> usize {
    let in_flight = MIN_PART_SIZE.saturating_mul(connections as u64);
    usize::try_from(in_flight / part_size.max(1))
        .map_or(connections, |slow| slow.clamp(1, connections))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * MIB;

    #[test]
    fn part_size_follows_length() {
        for (length, connections, mib) in [
            (1, 8, 8),
            (35 * MIB, 8, 8),
            (50 * MIB, 8, 12),
            (100 * MIB, 8, 16),
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
            assert!(length.div_ceil(size) <= MAX_PARTS, "{length}");
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
}
