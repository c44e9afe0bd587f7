//! How a file is cut into parts, and what of it is still missing. Pure.

use reelay_zoom::ByteRange;

/// 2^20 bytes.
pub const MIB: u64 = 1024 * 1024;

/// The smallest part. A file that is no larger goes by one PutObject.
pub const SMALLEST_PART: u64 = 8 * MIB;

/// S3 takes no more parts.
pub const MOST_PARTS: u64 = 10_000;

/// The part size for a file whose length nobody tells: enough for 156 GiB.
const PART_OF_UNKNOWN: u64 = 16 * MIB;

/// The size of the parts of a file of this length: at least `smallest`, and so large that 10,000 parts
/// suffice.
pub fn part_size(length: Option<u64>, smallest: u64) -> u64 {
    match length {
        Some(length) => length
            .div_ceil(MOST_PARTS)
            .next_multiple_of(MIB)
            .max(smallest),
        None => PART_OF_UNKNOWN.max(smallest),
    }
}

/// A file cut into parts, which are numbered from 1 as at S3. All have one size, but the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    length: u64,
    size: u64,
}

impl Parts {
    /// `None` if there is nothing to cut, or if so many parts are not possible.
    pub fn new(length: u64, size: u64) -> Option<Self> {
        let possible = length > 0 && size > 0 && length.div_ceil(size) <= MOST_PARTS;
        possible.then_some(Self { length, size })
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        // At most 10,000, checked where this is made.
        u32::try_from(self.length.div_ceil(self.size)).unwrap_or(u32::MAX)
    }

    /// Bytes of the whole file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of a part; 0 if there is no such part.
    pub fn length_of(&self, number: u32) -> u64 {
        if number == 0 {
            return 0;
        }
        let start = u64::from(number - 1) * self.size;
        self.length.saturating_sub(start).min(self.size)
    }

    /// The range of the file that a part is.
    pub fn range_of(&self, number: u32) -> Option<ByteRange> {
        let length = self.length_of(number);
        let start = u64::from(number.checked_sub(1)?) * self.size;
        ByteRange::new(start, (start + length).checked_sub(1)?)
    }

    /// The parts that are not done, in order. Done is what lies at S3 with the length that it must have.
    pub fn missing(&self, length_at_s3: impl Fn(u32) -> Option<u64>) -> Vec<u32> {
        (1..=self.count())
            .filter(|number| length_at_s3(*number) != Some(self.length_of(*number)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_always_suffice() {
        for length in [
            1,
            SMALLEST_PART,
            80_000 * MIB,
            80_000 * MIB + 1,
            1024 * 1024 * MIB,
            50 * 1024 * 1024 * MIB,
        ] {
            let size = part_size(Some(length), SMALLEST_PART);
            assert!(size >= SMALLEST_PART);
            assert!(Parts::new(length, size).is_some(), "{length}");
        }
        assert!(part_size(None, SMALLEST_PART) * MOST_PARTS > 150 * 1024 * MIB);
    }

    #[test]
    fn parts_cover_the_file_without_gap_or_overlap() {
        for (length, size) in [(1, 8), (8, 8), (9, 8), (16, 8), (1_000_003, 997)] {
            let parts = Parts::new(length, size).unwrap();
            let mut next = 0;
            for number in 1..=parts.count() {
                let range = parts.range_of(number).unwrap();
                assert_eq!(range.first(), next);
                assert_eq!(range.last(), Some(next + parts.length_of(number) - 1));
                next += parts.length_of(number);
            }
            assert_eq!(next, length);
            assert_eq!(parts.range_of(0), None);
            assert_eq!(parts.range_of(parts.count() + 1), None);
        }
    }

    #[test]
    fn a_part_of_another_length_is_missing() {
        let parts = Parts::new(20, 8).unwrap();
        let at_s3 = |number| match number {
            1 => Some(8),
            2 => Some(7),
            3 => Some(4),
            _ => None,
        };
        assert_eq!(parts.missing(at_s3), [2]);
        assert_eq!(parts.missing(|_| None), [1, 2, 3]);
    }

    #[test]
    fn what_cannot_be_cut_is_no_plan() {
        assert_eq!(Parts::new(0, 8), None);
        assert_eq!(Parts::new(8, 0), None);
        assert_eq!(Parts::new(80_001, 8), None);
    }
}
