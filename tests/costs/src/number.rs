//! Conversions between counts and fractions.

/// Rounds to the nearest count, at least 0.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded and not negative"
)]
pub(crate) fn round(number: f64) -> u64 {
    number.round().max(0.0) as u64
}

#[allow(clippy::cast_precision_loss, reason = "counts below 2^53")]
pub(crate) fn to_f64(count: u64) -> f64 {
    count as f64
}

/// A count with thousands separators.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
