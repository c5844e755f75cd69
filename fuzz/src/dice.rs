//! Changes to inputs that a seed repeats: the poor man's libFuzzer, for stable Rust.

/// A small generator of numbers, the same everywhere (xorshift64*, Marsaglia and Vigna).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall as `seed` says.
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            dice.roll();
        }
        dice
    }

    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: usize) -> usize {
        // The low bits are the weak ones.
        ((self.roll() >> 16) % bound.max(1) as u64) as usize
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        (self.roll() >> 32) as u8
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of `all`, which is not empty.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Longer inputs are cut: they cost time and say nothing new.
const LONGEST: usize = 16 << 10;

/// Bytes at the edges of what lengths and types mean.
const EDGES: [u8; 10] = [0x00, 0x01, 0x3f, 0x40, 0x7f, 0x80, 0xbf, 0xc0, 0xfe, 0xff];

/// Changes `input` in a few places, sometimes with a piece of `other`.
pub fn mutate(input: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut data = input.to_vec();
    for _ in 0..=dice.below(6) {
        change(&mut data, other, dice);
    }
    data.truncate(LONGEST);
    data
}

fn change(data: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.below(data.len() + 1);
    let some = dice.below(32).min(data.len() - at);
    match dice.below(8) {
        0 | 1 => {
            if let Some(byte) = data.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        2 => {
            if let Some(byte) = data.get_mut(at) {
                *byte = *dice.pick(&EDGES);
            }
        }
        3 => {
            if let Some(byte) = data.get_mut(at) {
                *byte = dice.byte();
            }
        }
        4 => drop(data.drain(at..at + some)),
        5 => data.insert(at, dice.byte()),
        6 => {
            let piece = data[at..at + some].to_vec();
            let to = dice.below(data.len() + 1);
            data.splice(to..to, piece);
        }
        _ => {
            let from = dice.below(other.len() + 1);
            let len = dice.below(256).min(other.len() - from);
            data.splice(at..at, other[from..from + len].iter().copied());
        }
    }
}
