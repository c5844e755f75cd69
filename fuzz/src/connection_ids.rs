//! The codec of connection ids, the tokens that go with them, and what looks at datagrams
//! before quiche does.
//!
//! An input is two secrets (8 bytes each), a worker (2), a seed (8), and a datagram, whose
//! bytes also say which ids are given up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use spooky_core::fuzzing::{self, Fate, IssuedBy, Issuer};
use spooky_core::limits;

use crate::dice::Dice;
use crate::input::Input;

const ID: usize = 16;

/// Ids are known again by who has the secret, and by nobody else, and arbitrary bytes are
/// read within their bounds.
pub fn connection_ids(data: &[u8]) {
    let mut input = Input(data);
    let secrets: [[u8; 8]; 2] = [input.array(), input.array()];
    let worker = u16::from_be_bytes(input.array());
    let seed = u64::from_be_bytes(input.array());
    check_secrets(secrets, worker, seed);
    check_strangers(secrets, worker, seed, input.0);
    check_round_trip(secrets[0], worker, seed);
    check_datagram(input.0);
    check_retired(input.0);
}

/// A machine where `current` has taken the place of `previous`.
fn machine(current: &[u8], previous: &[&[u8]], name: &str) -> Issuer {
    let previous: Vec<Vec<u8>> = previous.iter().map(|secret| secret.to_vec()).collect();
    Issuer::new(current, &previous, name)
}

/// What was issued under a secret is known, its worker and its reset token, for as long as
/// the secret is honoured: after a restart, on other machines, and after newer secrets.
fn check_secrets([now, then]: [[u8; 8]; 2], worker: u16, seed: u64) {
    let before = machine(&then, &[], "a");
    let after = machine(&now, &[&then], "a");
    let later = machine(&[0xff; 9], &[&now, &then], "a");
    let (old, old_token) = before.issue(worker, seed);
    let (new, new_token) = after.issue(worker, seed);
    let by = |secret| IssuedBy { worker, secret };
    assert_eq!(before.find(&old), Some((by(0), old_token)));
    assert_eq!(after.find(&new), Some((by(0), new_token)));
    // Where nothing was changed, the current secret is the one that is found.
    let same = now == then;
    assert_eq!(old == new, same);
    let old_by = |age: usize| by(age - usize::from(same));
    assert_eq!(after.find(&old), Some((old_by(1), old_token)));
    assert_eq!(later.find(&old), Some((old_by(2), old_token)));
    assert_eq!(later.find(&new), Some((by(1), new_token)));
    // Another machine reads whose id it is, and can't end the connection.
    let elsewhere = machine(&now, &[&then], "b");
    for (id, token) in [(old, old_token), (new, new_token)] {
        let (_, other) = elsewhere.find(&id).expect("it has the secrets, too");
        assert_ne!(other, token, "of an id of another machine");
    }
    // Nor does one id tell the token of another.
    let (other, other_token) = after.issue(worker, seed ^ 1);
    assert_ne!(
        other, new,
        "of two ids of a worker, nobody can tell that they belong together"
    );
    assert_ne!(other_token, new_token);
}

/// Ids that were not issued, and those of them that were known as ours all the same.
static STRANGERS: AtomicU64 = AtomicU64::new(0);
static MISTAKEN: AtomicU64 = AtomicU64::new(0);

/// What nobody issued under these secrets is known as ours by chance alone: once in 2^32
/// for each of them.
fn check_strangers([now, then]: [[u8; 8]; 2], worker: u16, seed: u64, any: &[u8]) {
    let ours = machine(&now, &[&then], "a");
    let (id, _) = ours.issue(worker, seed);
    let mut dice = Dice::new(seed);
    let mut strangers: Vec<[u8; ID]> = Vec::new();
    for _ in 0..32 {
        let mut altered = id;
        altered[dice.below(ID)] ^= 1 << dice.below(8);
        strangers.push(altered);
        strangers.push(std::array::from_fn(|_| dice.byte()));
    }
    strangers.push(Input(any).array());
    strangers.push(machine(&[0xfe; 9], &[], "a").issue(worker, seed).0);
    let mistaken = strangers
        .iter()
        .filter(|id| ours.find(*id).is_some())
        .count();
    let all = STRANGERS.fetch_add(strangers.len() as u64, Ordering::Relaxed);
    let mistaken = MISTAKEN.fetch_add(mistaken as u64, Ordering::Relaxed) + mistaken as u64;
    // Eight times of what is expected, and some that chance may bring at any time.
    assert!(mistaken <= 3 + (all >> 28), "{mistaken} of {all}");
    for len in (0..any.len().min(40)).filter(|len| *len != ID) {
        assert_eq!(ours.find(&any[..len]), None, "{len} bytes are no id");
    }
}

fn check_round_trip(secret: [u8; 8], worker: u16, seed: u64) {
    let ours = machine(&secret, &[], "a");
    let (id, _) = ours.issue(worker, seed);
    let short = [&[0x40][..], &id, &[0; 20]].concat();
    assert_eq!(fuzzing::destination_id(&short), Some(&id[..]));
    let long = [&[0xc0, 0, 0, 0, 1, ID as u8][..], &id, &[0; 20]].concat();
    assert_eq!(fuzzing::destination_id(&long), Some(&id[..]));
    assert_eq!(ours.find(&id[1..]), None);
    assert_eq!(ours.find(&long[6..6 + ID + 1]), None);
}

fn check_datagram(datagram: &[u8]) {
    let id = fuzzing::destination_id(datagram);
    assert_eq!(id, expected_id(datagram), "{datagram:?}");
    let mut padded = datagram.to_vec();
    padded.resize(datagram.len().max(1200), 0);
    for data in [datagram, &padded] {
        let mut altered = data.to_vec();
        let fate = fuzzing::classify(&mut altered);
        assert_eq!(altered, data, "looking changes nothing");
        if fate == Fate::Dropped {
            continue;
        }
        // RFC 9000 section 14.1, and RFC 8999 section 5.1 for the form.
        assert!(data.len() >= 1200 && data[0] & 0x80 != 0, "{fate:?}");
        let version = u32::from_be_bytes([data[1], data[2], data[3], data[4]]);
        assert_eq!(fate == Fate::Accepted, version == 1, "{version}");
        let id = fuzzing::destination_id(data).expect("who is answered has an id");
        // RFC 9000 section 7.2.
        assert!(fate != Fate::Accepted || id.len() >= 8, "{id:?}");
    }
}

/// Of the ids that were given up the last are known, and no more. A pair of bytes gives up
/// a row of ids.
fn check_retired(script: &[u8]) {
    let rows = script.chunks_exact(2).take(6);
    let numbers =
        rows.flat_map(|row| (0..u32::from(row[1]) * 8).map(|n| u32::from(row[0]) * 8 + n));
    let numbers: Vec<u32> = numbers.collect();
    let ids: Vec<[u8; ID]> = numbers
        .iter()
        .map(|n| (u128::from(*n) << 64).to_be_bytes())
        .collect();
    let known = fuzzing::retired_before(&ids);
    // The place of each among those that were not known before.
    let (mut places, mut count) = (HashMap::new(), 0);
    for (number, known) in numbers.iter().zip(known) {
        let place: Option<&usize> = places.get(number);
        let expected = place.is_some_and(|place| count - place <= limits::RETIRED_IDS);
        assert_eq!(known, expected, "{number} after {count}");
        if !expected {
            places.insert(*number, count);
            count += 1;
        }
    }
}

/// RFC 8999 section 5, a byte at a time.
fn expected_id(datagram: &[u8]) -> Option<&[u8]> {
    let (start, len) = match datagram {
        [] => return None,
        [first, ..] if first & 0x80 == 0 => (1, ID),
        [_, _, _, _, _, len, ..] => (6, usize::from(*len)),
        [..] => return None,
    };
    // RFC 9000 section 17.2: "it MUST NOT exceed 20 bytes".
    (len <= 20 && datagram.len() >= start + len).then(|| &datagram[start..start + len])
}

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let datagrams: [(&'static str, &[u8]); 8] = [
        ("nothing", &[]),
        ("an-id", &[7; 16]),
        ("short-header", &[0x41; 40]),
        (
            "initial",
            &[
                0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 4, 9, 9, 9, 9, 0, 0x44, 0xd0,
            ],
        ),
        (
            "no-version",
            &[0xc3, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0],
        ),
        ("unknown-version", &[0xff, 9, 9, 9, 9, 3, 1, 2, 3, 0]),
        ("long-id", &[0xc3, 0, 0, 0, 1, 21, 1, 2, 3]),
        // More than are kept, the first of them again, and the last of them again.
        ("given-up", &[0, 200, 0, 1, 190, 9, 4, 255, 0, 255]),
    ];
    let with_head = |(name, datagram): (&'static str, &[u8])| {
        let head: Vec<u8> = (0..26).collect();
        (name, [&head, datagram].concat())
    };
    let mut seeds: Vec<_> = datagrams.into_iter().map(with_head).collect();
    seeds.push(("one-secret", vec![7; 26]));
    seeds
}
