//! Mutations of valid texts, as an attacker or a faulty proxy would make them.

/// A seeded pseudo-random generator (SplitMix64), so that runs are reproducible.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Creates a generator from `FUZZ_SEED`, or a fixed seed, and prints the seed.
    #[expect(
        clippy::print_stdout,
        reason = "the runner shows it with a test that failed"
    )]
    pub fn from_environment() -> Self {
        let given = std::env::var("FUZZ_SEED").ok();
        let seed = given.map_or(0x5eed, |text| text.parse().expect("FUZZ_SEED is a number"));
        println!("FUZZ_SEED={seed}");
        Self(seed)
    }

    /// Returns the next 64 bits.
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Returns a number below `end`, which must not be 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("64 bits");
        usize::try_from(self.bits() % end).expect("below a usize")
    }

    /// Returns a random element.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len())]
    }
}

/// Characters to insert or substitute.
const PIECES: [&str; 24] = [
    "A", "B", "g", "w", "z", "0", "9", "-", "_", "+", "/", "=", "==", ".", "..", "%", "%3D", "%00",
    "\0", "\u{7f}", "\u{e9}", "\u{ff21}", "\u{200b}", "~",
];

/// Mutates `valid` by one to three edits into a text that differs from `valid` and `other`: flipped bits,
/// truncation, swapped, inserted, removed or repeated characters, changed case, the other base64 alphabet,
/// padding, changed spare bits, reordered parts, or half of `valid` joined with half of `other`.
pub fn bent(random: &mut Random, valid: &str, other: &str) -> String {
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
        text.extend(random.pick(&PIECES).chars());
    }
    let at = random.below(text.len());
    match random.below(14) {
        0 => text[at] = flipped(text[at], random.below(7)),
        1 => text.truncate(at),
        2 => drop(text.drain(..at)),
        3 => {
            let with = random.below(text.len());
            text.swap(at, with);
        }
        4 => drop(text.splice(at..at, random.pick(&PIECES).chars())),
        5 => drop(text.splice(at..=at, random.pick(&PIECES).chars())),
        6 => drop(text.remove(at)),
        7 => text.insert(at, text[at]),
        8 => text[at] = other_case(text[at]),
        9 => text.iter_mut().for_each(|c| *c = other_alphabet(*c)),
        10 => text.extend(
            random
                .pick(&["=", "==", "===", "A", "AA", "AAAA", "\n", "%3D"])
                .chars(),
        ),
        11 => spare_bits(random, text),
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

fn flipped(c: char, bit: usize) -> char {
    match u8::try_from(c) {
        Ok(byte) => char::from(byte ^ (1 << bit)),
        Err(_) => 'A',
    }
}

fn other_case(c: char) -> char {
    if c.is_ascii_lowercase() {
        c.to_ascii_uppercase()
    } else {
        c.to_ascii_lowercase()
    }
}

/// Converts between the base64 and base64url alphabets.
fn other_alphabet(c: char) -> char {
    match c {
        '-' => '+',
        '_' => '/',
        '+' => '-',
        '/' => '_',
        other => other,
    }
}

/// Changes the lowest bits of a part's last character, which may be unused.
fn spare_bits(random: &mut Random, text: &mut [char]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let ends: Vec<usize> = (0..text.len())
        .filter(|at| text.get(at + 1).is_none_or(|next| *next == '.'))
        .collect();
    let at = *random.pick(&ends);
    let value = ALPHABET
        .iter()
        .position(|known| char::from(*known) == text[at]);
    if let Some(value) = value {
        text[at] = char::from(ALPHABET[value ^ (1 + random.below(3))]);
    }
}
