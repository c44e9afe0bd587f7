//! `Range` (RFC 9110, 14.2), one range at a time.

use std::ops::Range;

/// What part of a body is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// All: no header, another unit, several ranges, or nonsense, which all may be ignored.
    Whole,
    /// One range.
    Part(Range<u64>),
    /// A range with nothing in it: 416.
    Nothing,
}

pub(super) fn read(header: Option<&str>, size: u64) -> Asked {
    let Some((first, last)) =
        header.and_then(|text| text.trim().strip_prefix("bytes=")?.split_once('-'))
    else {
        return Asked::Whole;
    };
    let number = |text: &str| -> Option<Option<u64>> {
        match text {
            "" => Some(None),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(Some(digits.parse().unwrap_or(u64::MAX)))
            }
            _ => None,
        }
    };
    match (number(first.trim()), number(last.trim())) {
        (Some(Some(first)), Some(Some(last))) if last < first => Asked::Whole,
        (Some(Some(first)), Some(_)) if first >= size => Asked::Nothing,
        (Some(Some(first)), Some(last)) => {
            Asked::Part(first..last.map_or(size, |last| last.saturating_add(1).min(size)))
        }
        (Some(None), Some(Some(count))) if count == 0 || size == 0 => Asked::Nothing,
        (Some(None), Some(Some(count))) => Asked::Part(size.saturating_sub(count)..size),
        _ => Asked::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(read(None, 10), Asked::Whole);
        assert_eq!(read(Some("bytes=0-4"), 10), Asked::Part(0..5));
        assert_eq!(read(Some("bytes=5-"), 10), Asked::Part(5..10));
        assert_eq!(read(Some("bytes=-3"), 10), Asked::Part(7..10));
        assert_eq!(read(Some("bytes=-30"), 10), Asked::Part(0..10));
        assert_eq!(
            read(Some("bytes=5-99999999999999999999999"), 10),
            Asked::Part(5..10)
        );
        assert_eq!(read(Some("bytes=10-"), 10), Asked::Nothing);
        assert_eq!(read(Some("bytes=-0"), 10), Asked::Nothing);
        assert_eq!(read(Some("bytes=0-"), 0), Asked::Nothing);
        for ignored in [
            "bytes=0-1,4-5",
            "lines=0-4",
            "bytes=4-2",
            "bytes=a-b",
            "bytes=-",
            "0-4",
        ] {
            assert_eq!(read(Some(ignored), 10), Asked::Whole, "{ignored}");
        }
    }
}
