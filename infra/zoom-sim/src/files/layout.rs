//! Head, numbered blocks of one length, tail: the shape in which any byte is found by division.

use std::ops::Range;
use std::sync::Arc;

/// Random-looking bytes come from one tile per file; each copy carries its own number in front.
const NOISE_BLOCK: usize = 4096;
const STAMP: usize = 8;

#[derive(Debug, Clone)]
pub(super) struct Layout {
    head: Arc<[u8]>,
    block: Block,
    block_len: u64,
    /// Where the blocks end and the tail begins; the last block may be cut.
    blocks_end: u64,
    tail: Arc<[u8]>,
}

#[derive(Debug, Clone)]
enum Block {
    Noise {
        tile: Arc<[u8]>,
        seed: u64,
    },
    /// Renders the block of that number; always as long as `block_len` says.
    Text {
        render: fn(Text) -> String,
        text: Text,
    },
}

/// What a line of a text file is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    pub(super) seed: u64,
    pub(super) number: u64,
    /// How many digits hours need in this file, so that all lines are of one length.
    pub(super) hour_digits: usize,
}

impl Layout {
    /// `head`, then noise up to `size`.
    pub(super) fn noise(mut head: Vec<u8>, seed: u64, size: u64) -> Self {
        head.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        let mut tile = Vec::with_capacity(NOISE_BLOCK);
        for word in 0..(NOISE_BLOCK / STAMP) as u64 {
            tile.extend_from_slice(&mix(seed ^ word).to_be_bytes());
        }
        Self {
            head: head.into(),
            block: Block::Noise {
                tile: tile.into(),
                seed,
            },
            block_len: NOISE_BLOCK as u64,
            blocks_end: size,
            tail: Arc::default(),
        }
    }

    /// `head`, `blocks` rendered blocks of `block_len` bytes, `tail`.
    pub(super) fn text(
        head: Vec<u8>,
        render: fn(Text) -> String,
        text: Text,
        block_len: u64,
        blocks: u64,
        tail: Vec<u8>,
    ) -> Self {
        let blocks_end = head.len() as u64 + block_len * blocks;
        Self {
            head: head.into(),
            block: Block::Text { render, text },
            block_len,
            blocks_end,
            tail: tail.into(),
        }
    }

    /// Appends the bytes of `range`, which must lie within the file.
    pub(super) fn append(&self, range: Range<u64>, out: &mut Vec<u8>) {
        let head_len = self.head.len() as u64;
        let mut at = range.start;
        while at < range.end {
            let before = out.len();
            if at < head_len {
                append_slice(&self.head, at, range.end - at, out);
            } else if at < self.blocks_end {
                let number = (at - head_len) / self.block_len;
                let within = (at - head_len) % self.block_len;
                let wanted = (range.end.min(self.blocks_end) - at).min(self.block_len - within);
                self.append_block(number, within, wanted, out);
            } else {
                append_slice(&self.tail, at - self.blocks_end, range.end - at, out);
            }
            if out.len() == before {
                return;
            }
            at += (out.len() - before) as u64;
        }
    }

    fn append_block(&self, number: u64, within: u64, wanted: u64, out: &mut Vec<u8>) {
        match &self.block {
            Block::Noise { tile, seed } => {
                let stamp = mix(seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
                    .to_be_bytes();
                let before = out.len() as u64;
                append_slice(&stamp, within, wanted, out);
                let done = out.len() as u64 - before;
                append_slice(tile, within + done, wanted - done, out);
            }
            Block::Text { render, text } => {
                let line = render(Text { number, ..*text });
                append_slice(line.as_bytes(), within, wanted, out);
            }
        }
    }
}

/// Appends up to `wanted` bytes of `slice` from `start`.
fn append_slice(slice: &[u8], start: u64, wanted: u64, out: &mut Vec<u8>) {
    let start = usize::try_from(start)
        .unwrap_or(usize::MAX)
        .min(slice.len());
    let end = start
        .saturating_add(usize::try_from(wanted).unwrap_or(usize::MAX))
        .min(slice.len());
    out.extend_from_slice(&slice[start..end]);
}

/// SplitMix64's finaliser: cheap, and every input bit reaches every output bit.
pub(super) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
