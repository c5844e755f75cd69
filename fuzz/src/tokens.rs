//! What clients bring back, and what they are told by: Retry tokens and stateless resets.
//!
//! An input is a key (32 bytes), a Retry (its id, the original id, an address), where and
//! when its token turns up, and then what replaces bytes of the token, or uses of ids.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use spooky_core::fuzzing::{self, TokenFault};
use spooky_core::limits;

use crate::input::Input;

/// Tokens are issued at this time since 1970.
const ISSUED: Duration = Duration::from_secs(1 << 31);

/// Tokens are good for what they were issued for, once, and nothing else is one.
pub fn tokens(data: &[u8]) {
    let mut input = Input(data);
    let key = input.array();
    let retry_id = input.array();
    let len = 8 + usize::from(input.byte()) % 13;
    let mut original = input.take(len).to_vec();
    original.resize(len, 0);
    let home = address(&mut input);
    let token = fuzzing::issue_token(&[key], &original, &retry_id, home, ISSUED);
    check_place_and_time(&mut input, key, &token, &retry_id, &original, home);
    check_forgery(&mut input, key, &token, &retry_id, home);
    check_reset(&mut input, key, &retry_id);
    check_uses(&mut input);
}

fn address(input: &mut Input<'_>) -> SocketAddr {
    let ip = match input.byte() % 2 {
        0 => IpAddr::from(input.array::<4>()),
        _ => IpAddr::from(input.array::<16>()),
    };
    // Addresses are canonical at the edge.
    SocketAddr::new(ip.to_canonical(), u16::from_be_bytes(input.array()))
}

fn check_place_and_time(
    input: &mut Input<'_>,
    key: [u8; 32],
    token: &[u8],
    retry_id: &[u8; 16],
    original: &[u8],
    home: SocketAddr,
) {
    let there = match input.byte() % 2 {
        0 => home,
        _ => address(input),
    };
    let millis = i32::from_be_bytes(input.array()) % 60_000;
    let off = Duration::from_millis(u64::from(millis.unsigned_abs()));
    let (at, in_time) = if millis < 0 {
        (ISSUED - off, off <= limits::RETRY_TOKEN_SKEW)
    } else {
        (ISSUED + off, off <= limits::RETRY_TOKEN_LIFE)
    };
    let expected = match (there == home, in_time) {
        (false, _) => Err(TokenFault::Elsewhere),
        (true, false) => Err(TokenFault::Expired),
        (true, true) => Ok(original.to_vec()),
    };
    // Earlier secrets are tried as well.
    let keys = [[!key[0]; 32], key];
    let opened = fuzzing::open_token(&keys, token, retry_id, there, at);
    assert_eq!(opened, expected, "{there} {millis}");
}

fn check_forgery(
    input: &mut Input<'_>,
    key: [u8; 32],
    token: &[u8],
    retry_id: &[u8; 16],
    home: SocketAddr,
) {
    let forged = Err(TokenFault::Forged);
    let open = |token: &[u8], id: &[u8]| fuzzing::open_token(&[key], token, id, home, ISSUED);
    let (at, bit) = (usize::from(input.byte()) % token.len(), input.byte() % 8);
    let mut altered = token.to_vec();
    altered[at] ^= 1 << bit;
    assert_eq!(open(&altered, retry_id), forged, "byte {at}, bit {bit}");
    assert_eq!(open(&token[..at], retry_id), forged, "{at} bytes");
    let mut other = *retry_id;
    other[at % 16] ^= 1 << bit;
    assert_eq!(open(token, &other), forged);
    assert_eq!(open(token, &retry_id[..at % 16]), forged);
    let len = usize::from(input.byte());
    let any = input.take(len);
    assert_eq!(open(any, retry_id), forged, "{any:?}");
    assert_eq!(
        open(&[token, any].concat(), retry_id).is_ok(),
        any.is_empty()
    );
}

fn check_reset(input: &mut Input<'_>, key: [u8; 32], id: &[u8; 16]) {
    let trigger = usize::from(u16::from_be_bytes(input.array()));
    let seed = u64::from_be_bytes(input.array());
    let (reset, token) = fuzzing::stateless_reset(key, id, trigger, seed);
    let Some(reset) = reset else {
        // RFC 9000 section 10.3: one byte less would not be a packet.
        assert!(trigger <= 21, "{trigger}");
        return;
    };
    assert!(reset.len() < trigger && reset.len() >= 21, "{trigger}");
    assert_eq!(reset[0] & 0xc0, 0x40);
    assert!(reset.ends_with(&token));
}

/// While a token may be good, it is so once. Few inputs fill a row of the register, which
/// alone makes it forget.
fn check_uses(input: &mut Input<'_>) {
    let mut now = ISSUED;
    let mut uses = Vec::new();
    while !input.is_empty() && uses.len() < 64 {
        // Few ids, so that they come again.
        let id = [input.byte() % 8; 16];
        now += Duration::from_millis(200) * u32::from(input.byte());
        uses.push((id, now));
    }
    let first = fuzzing::first_uses(&uses);
    for (n, (id, at)) in uses.iter().enumerate() {
        let before = uses[..n].iter().zip(&first).rev();
        let before = before.filter(|((other, _), first)| other == id && **first);
        let last = before.map(|((_, then), _)| *at - *then).next();
        let remembered = last.is_some_and(|ago| ago <= limits::USED_TOKEN_MEMORY);
        assert!(!(remembered && first[n]), "use {n} of {uses:?}");
        let forgotten = last.is_none_or(|ago| ago >= 3 * limits::USED_TOKEN_MEMORY);
        assert!(first[n] || !forgotten, "use {n} of {uses:?}");
    }
}

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let retry = |length: u8| {
        let mut input: Vec<u8> = (0..48).collect();
        input.push(length);
        input.extend((0..8 + length).map(|n| 0xa0 | n % 16));
        input.extend([0, 192, 0, 2, 1, 0xc3, 0x50]);
        input
    };
    let with = |length, rest: &[u8]| [&retry(length), rest].concat();
    let at_home = |millis: i32| [&[0][..], &millis.to_be_bytes()].concat();
    vec![
        ("in-time", with(0, &at_home(9_999))),
        ("too-late", with(12, &at_home(10_001))),
        ("from-the-future", with(4, &at_home(-2_001))),
        (
            "elsewhere",
            with(0, &[1, 0, 192, 0, 2, 1, 0xc3, 0x51, 0, 0, 0, 0]),
        ),
        (
            "used-again",
            with(
                0,
                &[
                    &at_home(0)[..],
                    &[3, 1, 0, 4, 0xb0, 0, 0, 0, 0, 0, 0, 0, 7],
                    &[1, 0, 1, 5, 2, 60, 1, 60, 1, 255, 2, 255, 2, 0],
                ]
                .concat(),
            ),
        ),
        ("nothing", Vec::new()),
    ]
}
