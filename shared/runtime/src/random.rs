//! Randomness from the operating system. `reelay_domain` takes random bytes as arguments.

/// Returns `N` random bytes, suitable for keys and nonces.
///
/// # Panics
/// If the operating system has no random source. Nothing may run without one.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    getrandom::fill(&mut bytes).expect("the operating system has a random source");
    bytes
}

/// Returns a random identifier: 128 bits in hexadecimal.
pub fn hex_id() -> String {
    format!("{:032x}", u128::from_be_bytes(bytes()))
}
