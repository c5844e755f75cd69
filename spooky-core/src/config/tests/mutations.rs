//! Thousands of damaged texts: nothing panics, and every refusal has a reason.

use super::super::Config;
use super::shipped::FULL;

#[test]
fn damaged_texts_are_refused_with_a_reason_or_mean_something() {
    let mut random = Random(0x5_0001_2345_6789);
    let (mut legal, mut refused) = (0, 0);
    for round in 0..6000 {
        let mut text = FULL.as_bytes().to_vec();
        for _ in 0..=round % 3 {
            damage(&mut text, &mut random);
        }
        let text = String::from_utf8_lossy(&text);
        match Config::parse("full.yaml", &text) {
            Ok(config) => {
                legal += 1;
                assert_legal(&config);
            }
            Err(faults) => {
                refused += 1;
                assert!(!faults.is_empty(), "refused without a word:\n{text}");
                for fault in faults {
                    assert!(!fault.message.is_empty());
                    assert!(fault.position.is_some(), "{fault}\n{text}");
                }
            }
        }
    }
    // Much of the text is comments, so both happen often.
    assert!(
        legal > 500 && refused > 500,
        "{legal} legal, {refused} refused"
    );
}

#[test]
fn every_beginning_of_a_text_is_answered() {
    for end in (0..=FULL.len()).filter(|&end| FULL.is_char_boundary(end)) {
        if let Err(faults) = Config::parse("full.yaml", &FULL[..end]) {
            assert!(!faults.is_empty());
        }
    }
}

/// What holders of a [`Config`] rely on, and that it can be printed and read.
fn assert_legal(config: &Config) {
    let quic = &config.quic;
    assert!(quic.connection_window > 2 * quic.max_streams * quic.stream_window);
    assert_eq!(*quic, config.upstream.quic);
    let upstream = &config.upstream;
    assert!(upstream.backends.iter().any(|backend| backend.weight > 0));
    assert!(upstream.connections.min_idle <= upstream.connections.max);
    assert!(upstream.connections.max >= 1 && !upstream.timeouts.connect.is_zero());
    let printed = config.to_yaml();
    let again = Config::parse("full.yaml", &printed).expect("what was printed is legal");
    assert_eq!(super::meaning(config), super::meaning(&again), "{printed}");
}

fn damage(text: &mut Vec<u8>, random: &mut Random) {
    if text.is_empty() {
        return;
    }
    let at = random.below(text.len());
    let end = (at + 1 + random.below(24)).min(text.len());
    match random.below(6) {
        0 => text[at] ^= 1 << random.below(8),
        1 => text[at] = b"\t\n :-#'\"[]{}&*!|>%@`,?0"[random.below(23)],
        2 => drop(text.drain(at..end)),
        3 => {
            let copy = text[at..end].to_vec();
            let to = random.below(text.len());
            text.splice(to..to, copy);
        }
        4 => swap_lines(text, random),
        _ => text.truncate(text.len() - random.below(text.len() / 8 + 1)),
    }
}

/// Moves a line to where another stands, which changes what it belongs to.
fn swap_lines(text: &mut Vec<u8>, random: &mut Random) {
    let mut lines: Vec<Vec<u8>> = text
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    let (one, other) = (random.below(lines.len()), random.below(lines.len()));
    lines.swap(one, other);
    *text = lines.join(&b'\n');
}

/// xorshift64: the same damage on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).expect("small")).expect("small")
    }
}
