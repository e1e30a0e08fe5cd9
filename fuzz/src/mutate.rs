//! The mutator: small, deterministic.

/// The longest input.
pub(crate) const MAX_LEN: usize = 4096;

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`, 0 when that is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or_default()
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// A number that bounds and shifts tend to get wrong.
    fn interesting(&mut self) -> u64 {
        let power = 1_u64 << (self.next() % 64);
        match self.next() % 8 {
            0 => 0,
            1 => u64::MAX,
            2 => power,
            3 => power - 1,
            4 => power.wrapping_neg(),
            5 => self.next() % 0x100,
            6 => self.next() % 0x1_0000,
            _ => self.next(),
        }
    }
}

/// What a mutation may take parts of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    /// Another input.
    pub(crate) other: &'a [u8],
    /// The target's dictionary.
    pub(crate) words: &'a [Vec<u8>],
}

/// A mutation of `input`.
pub(crate) fn mutate(random: &mut Random, input: &[u8], parts: Parts<'_>) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        one(random, &mut bytes, parts);
    }
    bytes.truncate(MAX_LEN);
    bytes
}

fn one(random: &mut Random, bytes: &mut Vec<u8>, Parts { other, words }: Parts<'_>) {
    let at = random.below(bytes.len());
    let run = at..(at + 1 + random.below(16)).min(bytes.len());
    let kinds = if words.is_empty() { 9 } else { 12 };
    match random.next() % kinds {
        0 => flip(random, bytes, at),
        1 | 2 => {
            let width = 1 << random.below(4);
            let value = random.interesting().to_le_bytes();
            overwrite(bytes, at, value.get(..width).unwrap_or_default());
        }
        3 => {
            let inserted: Vec<u8> = (0..=random.below(8)).map(|_| random.byte()).collect();
            bytes.splice(at..at, inserted);
        }
        4 if run.start < run.end => drop(bytes.drain(run)),
        5 => {
            let copied = bytes.get(run).unwrap_or_default().to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, copied);
        }
        6 => bytes.truncate(at),
        7 => {
            let from = random.below(other.len());
            let len = 1 + random.below(64);
            let part = other.get(from..).unwrap_or_default();
            overwrite(bytes, at, part.get(..len).unwrap_or(part));
        }
        8 => {
            let from = random.below(other.len());
            bytes.truncate(at);
            bytes.extend(other.get(from..).unwrap_or_default());
        }
        kind => {
            let word = random.pick(words).into_iter().flatten().copied();
            if kind == 9 {
                overwrite(bytes, at, &word.collect::<Vec<_>>());
            } else {
                bytes.splice(at..at, word);
            }
        }
    }
}

fn flip(random: &mut Random, bytes: &mut [u8], at: usize) {
    let bit = random.below(8);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    let target = bytes.get_mut(at..).unwrap_or_default();
    for (byte, new) in target.iter_mut().zip(with) {
        *byte = *new;
    }
}
