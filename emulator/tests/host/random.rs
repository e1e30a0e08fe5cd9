//! A small deterministic generator: the same operands on every run.

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.next() >> 63 != 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A number near the edges as often as any other, for one call of the generator.
    pub(crate) fn operand(&mut self) -> u64 {
        const EDGES: [u64; 8] = [
            0,
            0xff,
            0x7f80_00ff,
            0x7fff,
            0xffff_ffff,
            0x7fff_ffff,
            1 << 63,
            i64::MAX.cast_unsigned(),
        ];
        let value = self.next();
        let edge = EDGES[usize::from(value.to_le_bytes()[7] & 7)];
        match value & 3 {
            0 => edge,
            1 => value >> 8 & 0xff,
            2 => edge.wrapping_add(value >> 8 & 3).wrapping_sub(1),
            _ => value.rotate_left(11),
        }
    }

    /// A supply of operands that [`fill`](Self::fill) takes pieces of.
    pub(crate) fn pool(&mut self) -> Vec<u8> {
        (0..512)
            .flat_map(|_| self.operand().to_le_bytes())
            .collect()
    }

    pub(crate) fn fill(&mut self, pool: &[u8], bytes: &mut [u8]) {
        let start = self.below((pool.len() - bytes.len()) / 8) * 8;
        bytes.copy_from_slice(&pool[start..start + bytes.len()]);
    }
}
