//! Layout of a file in parts. No I/O.

use reelay_domain::part_size::MAX_PARTS;
use reelay_zoom::ByteRange;

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
