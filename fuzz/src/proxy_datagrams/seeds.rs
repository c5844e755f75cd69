//! Inputs to begin with: what real peers send, and a walk through everything.

use spooky_tests::sim::world::isolated;

use super::peer::Peer;
use super::script::Switches;
use super::{SEED, settings};

/// Named inputs, as kept in `corpus/proxy_datagrams`.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    // First flights hold random numbers.
    isolated(SEED, all)
}

#[allow(clippy::too_many_lines, reason = "a table, one entry an input")]
fn all() -> Vec<(&'static str, Vec<u8>)> {
    let on = Switches::CONNECTED;
    let relayed = on | Switches::RELAYED;
    vec![
        ("first-flight", first_flight(0)),
        ("first-flight-of-another", first_flight(1)),
        ("unknown-version", unknown_version()),
        ("get", script(relayed, &[&[12, 0]])),
        (
            "get-batched",
            script(relayed | Switches::BATCHED, &[&[12, 1]]),
        ),
        ("every-path", every(relayed, |path| path)),
        ("every-shape", every(relayed, |shape| shape << 4)),
        (
            "tight",
            every(relayed | Switches::TIGHT, |shape| shape << 4),
        ),
        ("tight-unread", unread()),
        ("silent-backend", silent()),
        (
            "cancelled",
            script(on, &[&[12, 0x63], &[14, 4], &[10, 0, 0, 12], &[14, 4]]),
        ),
        (
            "reset-by-backend",
            script(on, &[&[12, 3], &[14, 4], &[11, 0, 0, 2], &[14, 4]]),
        ),
        (
            "stopped-by-backend",
            script(on, &[&[12, 0x83], &[14, 2], &[11, 0, 1, 0], &[14, 4]]),
        ),
        (
            "moved-client",
            script(on, &[&[12, 1], &[14, 1], &[6, 1, 0, 0], &[14, 4]]),
        ),
        (
            "astray",
            script(
                on,
                &[&[12, 1], &[6, 2, 0, 0], &[14, 2], &[7, 3, 0, 0], &[14, 4]],
            ),
        ),
        (
            "drain",
            script(on, &[&[12, 3], &[14, 4], &[21, 5], &[14, 4], &[18, 7]]),
        ),
        (
            "goaway",
            script(relayed, &[&[12, 3], &[12, 0x13], &[23, 0], &[12, 0]]),
        ),
        (
            "lost",
            script(
                on,
                &[&[12, 1], &[14, 1], &[17, 1], &[14, 1], &[16, 0], &[14, 4]],
            ),
        ),
        ("blocked-requests", blocked(on, 0x83, [17, 1])),
        ("blocked-answers", blocked(on, 0x01, [16, 1])),
        (
            "came-back",
            script(on, &[&[12, 3], &[18, 11], &[24], &[12, 1], &[14, 8]]),
        ),
        (
            "kept-alive",
            script(relayed, &[&[12, 3], &[18, 10], &[18, 11], &[12, 0]]),
        ),
        (
            "fell-silent",
            script(
                on,
                &[&[12, 3], &[14, 4], &[18, 11], &[24], &[12, 0], &[18, 6]],
            ),
        ),
        ("frames", frames(on)),
        ("raw-answers", raw_answers(on)),
        ("reset-beyond-window", reset_beyond_window(on)),
        (
            "altered",
            script(
                on,
                &[&[12, 0], &[6, 0, 0, 6, 0, 20, 0x0a, 0, 25, 0xff], &[14, 4]],
            ),
        ),
    ]
}

fn script(switches: u8, operations: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![switches];
    operations
        .iter()
        .for_each(|operation| out.extend(*operation));
    out
}

/// A first flight of a real client, as it is on the wire here, from either address.
fn first_flight(code: u8) -> Vec<u8> {
    let mut client = Peer::client(settings::CLIENT, 0, false);
    client.work();
    let mut out = vec![0];
    for data in client.pending {
        out.push(code);
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(data);
    }
    out.extend([18, 8]);
    out
}

fn unknown_version() -> Vec<u8> {
    let mut data = vec![0; 1200];
    data[..9].copy_from_slice(&[0xc0, 0xba, 0xba, 0xba, 0xba, 8, 1, 2, 3]);
    let mut out = vec![0, 0];
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
    out
}

/// Sixteen requests of kinds that `kind` makes of 0 to 15.
fn every(switches: u8, kind: impl Fn(u8) -> u8) -> Vec<u8> {
    let mut out = vec![switches];
    for i in 0..16 {
        out.extend([12, kind(i), 14, 8, 18, 6]);
    }
    out
}

fn unread() -> Vec<u8> {
    let slow = Switches::SLOW_CLIENT | Switches::SLOW_BACKEND;
    let switches = Switches::CONNECTED | Switches::TIGHT | Switches::RELAYED | slow;
    script(
        switches,
        &[
            &[12, 1],
            &[12, 0x80],
            &[12, 0x81],
            &[12, 0],
            &[12, 0],
            &[18, 7],
            &[18, 9],
        ],
    )
}

fn silent() -> Vec<u8> {
    let switches = Switches::CONNECTED | Switches::NO_BACKEND | Switches::RELAYED;
    script(
        switches,
        &[
            &[12, 0],
            &[12, 0x50],
            &[20, 0],
            &[12, 0],
            &[18, 7],
            &[20, 1],
            &[18, 9],
        ],
    )
}

/// A long body whose acknowledgements get lost fills a congestion window. Heads
/// that come then wait for room, until one is cancelled, and time passes.
fn blocked(switches: u8, kind: u8, lose: [u8; 2]) -> Vec<u8> {
    let mut out = script(switches, &[&[12, 3], &[14, 8], &[12, kind]]);
    for _ in 0..12 {
        out.extend([14, 1]);
        out.extend(lose);
    }
    for ask in [0x00, 0x0c, 0xb0] {
        out.extend([12, ask, 14, 1]);
        out.extend(lose);
    }
    out.extend([10, 8, 0, 12, 14, 1, 18, 8, 14, 8, 18, 9]);
    out
}

/// A request of the client's, frame by frame, and frames that change its mind.
fn frames(switches: u8) -> Vec<u8> {
    // STREAM of stream 0 with offset and length: HEADERS of `GET /`.
    let request = [
        4, 0, 0, 12, 0x0a, 0, 9, 0x01, 7, 0, 0, 0xd1, 0xd7, 0xc1, 0x50, 0,
    ];
    // RESET_STREAM, STOP_SENDING, MAX_DATA, RETIRE_CONNECTION_ID.
    let reset = [4, 0, 0, 6, 0x04, 0, 0x41, 0x0c, 9, 0x01];
    let stop = [4, 0, 0, 4, 0x05, 0, 0x41, 0x0c];
    let retire = [4, 0, 0, 2, 0x19, 1];
    // NEW_TOKEN and a MAX_STREAMS of the backend's.
    let backend = [5, 0, 0, 5, 0x12, 8, 0x07, 1, b't'];
    script(
        switches,
        &[
            &request,
            &[14, 4],
            &retire,
            &stop,
            &backend,
            &[14, 4],
            &reset,
            &[14, 4],
        ],
    )
}

/// RESET_STREAM of the backend's with a final size that no window allows.
fn reset_beyond_window(switches: u8) -> Vec<u8> {
    let reset = [5, 0, 0, 8, 0x04, 0, 0x41, 0x0c, 0xbf, 0xff, 0xff, 0xff];
    script(switches, &[&[12, 3], &[14, 8], &reset, &[14, 4]])
}

/// Bytes of the backend's on a stream that waits for an answer.
fn raw_answers(switches: u8) -> Vec<u8> {
    let ask = [12, 3, 14, 4];
    let head = [9, 0, 0, 5, 0x01, 3, 0, 0, 0xd9];
    let body = [9, 0, 0, 4, 0x00, 2, b'h', b'i'];
    let cut = [9, 0x80, 0, 3, 0x00, 9, b'x'];
    let early = [9, 4, 0, 4, 0x00, 2, b'n', b'o'];
    script(
        switches,
        &[
            &ask,
            &head,
            &[14, 2],
            &body,
            &[14, 2],
            &cut,
            &ask,
            &early,
            &[14, 4],
        ],
    )
}
