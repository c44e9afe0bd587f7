//! Randomness from the operating system. `domain` takes the bytes as arguments.

/// `N` bytes fit for keys and nonces.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    // Fails only where the system call itself is missing; then nothing here may go on.
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}
