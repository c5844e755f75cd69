//! The codec of connection ids, and what looks at datagrams before quiche does.
//!
//! An input is a key (16 bytes), a worker (2), a seed (8), and a datagram.

use spooky_core::fuzzing::{self, Fate};

use crate::input::Input;

const ID: usize = 16;

/// Ids name their worker again, and arbitrary bytes are read within their bounds.
pub fn connection_ids(data: &[u8]) {
    let mut input = Input(data);
    let key = input.array();
    let worker = u16::from_be_bytes(input.array());
    let seed = u64::from_be_bytes(input.array());
    check_round_trip(key, worker, seed);
    check_datagram(key, input.0);
}

fn check_round_trip(key: [u8; 16], worker: u16, seed: u64) {
    let id = fuzzing::issue_id(key, worker, seed);
    assert_eq!(fuzzing::worker_of(key, &id), Some(worker));
    // Of two ids of a worker, nobody can tell that they belong together.
    assert_ne!(id, fuzzing::issue_id(key, worker, seed ^ 1));
    let short = [&[0x40][..], &id, &[0; 20]].concat();
    assert_eq!(fuzzing::destination_id(&short), Some(&id[..]));
    let long = [&[0xc0, 0, 0, 0, 1, ID as u8][..], &id, &[0; 20]].concat();
    assert_eq!(fuzzing::destination_id(&long), Some(&id[..]));
    assert_eq!(fuzzing::worker_of(key, &id[1..]), None);
    assert_eq!(fuzzing::worker_of(key, &long[6..6 + ID + 1]), None);
}

fn check_datagram(key: [u8; 16], datagram: &[u8]) {
    let id = fuzzing::destination_id(datagram);
    assert_eq!(id, expected_id(datagram), "{datagram:?}");
    let worker = fuzzing::worker_of(key, datagram);
    assert!(worker.is_none() || datagram.len() == ID, "{datagram:?}");
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
    let datagrams: [(&'static str, &[u8]); 7] = [
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
    ];
    let with_head = |(name, datagram): (&'static str, &[u8])| {
        let head: Vec<u8> = (0..26).collect();
        (name, [&head, datagram].concat())
    };
    datagrams.into_iter().map(with_head).collect()
}
