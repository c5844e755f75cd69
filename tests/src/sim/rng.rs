//! The dice of a simulation: SplitMix64 to seed, xoshiro256++ to draw.
//!
//! Not a crate's generator: a seed must mean the same after `cargo update`, and
//! the interposed `getrandom` may neither allocate nor lock.

/// One stream of random numbers of a seed.
#[derive(Clone, Debug)]
pub struct Rng([u64; 4]);

/// One step of SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    /// The stream `label` of `seed`; other labels give independent streams.
    pub fn new(seed: u64, label: u64) -> Self {
        let mut state = seed ^ label.wrapping_mul(0xd6e8_feb8_6659_fd93);
        Rng([(); 4].map(|()| splitmix(&mut state)))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let s = &mut self.0;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// Uniform in `0..n`; 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// True `ppm` times in a million. Integers alone: no float decides anything.
    pub fn chance(&mut self, ppm: u32) -> bool {
        self.below(1_000_000) < u64::from(ppm)
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.bits().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// Something that decides: random numbers of a seed, or the bytes of a fuzzer's input.
pub trait Dice {
    /// A number below `n`; 0 if `n` is 0.
    fn below(&mut self, n: u64) -> u64;

    /// A number from `least` to `most`.
    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// True `percent` times in a hundred. A source that has run dry says no.
    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) >= 100 - percent
    }

    /// Index of one of `weights`, each as likely as it weighs.
    fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut at = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            if at < *weight {
                return index;
            }
            at -= weight;
        }
        0
    }
}

impl Dice for Rng {
    fn below(&mut self, n: u64) -> u64 {
        Rng::below(self, n)
    }
}
