//! Identifiers in Zoom's formats.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// Derives ids from a key and a counter: the same key and calls yield the same ids, which makes a seeded
/// run reproducible. With a random key the ids are unpredictable.
#[derive(Debug)]
pub(crate) struct Ids {
    key: [u8; 32],
    counter: AtomicU64,
}

impl Ids {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key, counter: AtomicU64::new(0) }
    }

    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let mut out = [0; N];
        for (block, chunk) in (0_u32..).zip(out.chunks_mut(32)) {
            let hash = Sha256::new()
                .chain_update(self.key)
                .chain_update(number.to_be_bytes())
                .chain_update(block.to_be_bytes());
            chunk.copy_from_slice(&hash.finalize()[..chunk.len()]);
        }
        out
    }

    /// base64url text of `N` bytes, for URLs, codes and claims.
    pub(crate) fn opaque<const N: usize>(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<N>())
    }

    /// A Zoom user or account id: 22 characters, case-sensitive.
    pub(crate) fn zoom(&self) -> String {
        self.opaque::<16>()
    }

    /// A meeting UUID: padded base64, so it may contain `/` and `+`.
    pub(crate) fn meeting_uuid(&self) -> String {
        STANDARD.encode(self.bytes::<16>())
    }

    /// A meeting number of eleven digits.
    pub(crate) fn meeting_number(&self) -> u64 {
        80_000_000_000 + u64::from_be_bytes(self.bytes()) % 10_000_000_000
    }

    /// A recording file id: a version 4 UUID.
    pub(crate) fn file(&self) -> String {
        let mut bytes = self.bytes::<16>();
        bytes[6] = bytes[6] & 0x0F | 0x40;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        grouped(&bytes, '-')
    }

    /// `x-zm-request-id`: the groups of a UUID, joined by underscores.
    pub(crate) fn request(&self) -> String {
        grouped(&self.bytes(), '_')
    }

    /// `x-zm-trackingid`.
    pub(crate) fn tracking(&self) -> String {
        format!("v=2.0;clid=us06;rid=WEB_{}", self.hex::<16>())
    }

    pub(crate) fn hex<const N: usize>(&self) -> String {
        hex::encode(self.bytes::<N>())
    }
}

fn grouped(bytes: &[u8; 16], separator: char) -> String {
    let mut text = hex::encode(bytes);
    for index in [20, 16, 12, 8] {
        text.insert(index, separator);
    }
    text
}
