//! Mutates valid texts as forgers and faulty intermediaries do.

use rand_core::{Rng as _, SeedableRng as _};
use rand_pcg::Pcg64;

/// Random number generator whose output depends on its seed only.
#[derive(Debug, Clone)]
pub struct Random(Pcg64);

impl Random {
    /// Creates a generator from `FUZZ_SEED`, or from a fixed seed, and prints the seed.
    #[expect(clippy::print_stdout, reason = "the test runner shows the seed of a failed test")]
    pub fn from_environment() -> Self {
        let seed = std::env::var("FUZZ_SEED").ok();
        let seed = seed.map_or(0x5eed, |text| text.parse().expect("FUZZ_SEED is a number"));
        println!("FUZZ_SEED={seed}");
        Self(Pcg64::seed_from_u64(seed))
    }

    /// Returns a number below `end`, which must not be 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("usize has at most 64 bits");
        usize::try_from(self.0.next_u64() % end).expect("the remainder is below a usize")
    }

    /// Returns a random element of a slice that is not empty.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len())]
    }
}

/// Texts to insert and to replace characters with.
const FRAGMENTS: [&str; 24] = [
    "A", "B", "g", "w", "z", "0", "9", "-", "_", "+", "/", "=", "==", ".", "..", "%", "%3D", "%00",
    "\0", "\u{7f}", "\u{e9}", "\u{ff21}", "\u{200b}", "~",
];

/// Applies one to three edits to `valid`; the result differs from `valid` and `other`. Edits flip bits, cut
/// ends, swap, insert, delete or repeat characters, change case, base64 alphabet, padding or spare bits,
/// reorder dot-separated parts, or join halves of the two texts.
pub fn mutate(random: &mut Random, valid: &str, other: &str) -> String {
    loop {
        let mut text: Vec<char> = valid.chars().collect();
        for _ in 0..=random.below(3) {
            edit(random, &mut text, other);
        }
        let text: String = text.into_iter().collect();
        if text != valid && text != other {
            return text;
        }
    }
}

fn edit(random: &mut Random, text: &mut Vec<char>, other: &str) {
    if text.is_empty() {
        text.extend(random.pick(&FRAGMENTS).chars());
    }
    let at = random.below(text.len());
    match random.below(14) {
        0 => text[at] = flip_bit(text[at], random.below(7)),
        1 => text.truncate(at),
        2 => drop(text.drain(..at)),
        3 => {
            let with = random.below(text.len());
            text.swap(at, with);
        }
        4 => drop(text.splice(at..at, random.pick(&FRAGMENTS).chars())),
        5 => drop(text.splice(at..=at, random.pick(&FRAGMENTS).chars())),
        6 => drop(text.remove(at)),
        7 => text.insert(at, text[at]),
        8 => text[at] = swap_case(text[at]),
        9 => text.iter_mut().for_each(|c| *c = swap_alphabet(*c)),
        10 => text.extend(random.pick(&["=", "==", "===", "A", "AA", "AAAA", "\n", "%3D"]).chars()),
        11 => change_spare_bits(random, text),
        12 => {
            let parts: String = text.iter().collect();
            let mut parts: Vec<&str> = parts.split('.').collect();
            let (from, to) = (random.below(parts.len()), random.below(parts.len()));
            parts.swap(from, to);
            *text = parts.join(".").chars().collect();
        }
        _ => {
            let other: Vec<char> = other.chars().collect();
            let cut = at.min(other.len());
            if random.below(2) == 0 {
                text.truncate(cut);
                text.extend(&other[cut..]);
            } else {
                text.splice(..cut, other[..cut].iter().copied());
            }
        }
    }
}

fn flip_bit(c: char, bit: usize) -> char {
    match u8::try_from(c) {
        Ok(byte) => char::from(byte ^ (1 << bit)),
        Err(_) => 'A',
    }
}

fn swap_case(c: char) -> char {
    if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
}

/// Maps base64url characters to base64 and vice versa.
fn swap_alphabet(c: char) -> char {
    match c {
        '-' => '+',
        '_' => '/',
        '+' => '-',
        '/' => '_',
        other => other,
    }
}

/// Changes the lowest bits of the last character of a part, which a lenient decoder ignores.
fn change_spare_bits(random: &mut Random, text: &mut [char]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let ends: Vec<usize> =
        (0..text.len()).filter(|at| text.get(at + 1).is_none_or(|next| *next == '.')).collect();
    let at = *random.pick(&ends);
    let value = ALPHABET.iter().position(|known| char::from(*known) == text[at]);
    if let Some(value) = value {
        text[at] = char::from(ALPHABET[value ^ (1 + random.below(3))]);
    }
}
