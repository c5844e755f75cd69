//! What the client asks for: sound requests, and others.

use quiche::h3::Header;

use super::peer::Peer;

/// The backend knows what each stands for.
const PATHS: [&[u8]; 14] = [
    b"/",
    b"/big",
    b"/early",
    b"/silent",
    b"/reset",
    b"/rejected",
    b"/short",
    b"/trailers",
    b"/empty",
    b"/broken",
    b"/goaway",
    b"/close",
    b"/wide",
    b"",
];

/// The path is in the lower four bits of `kind`, the shape in the upper four.
pub(crate) fn send(client: &mut Peer, kind: u8) {
    let path = PATHS[usize::from(kind & 0xf) % PATHS.len()];
    let head = |method: &[u8]| {
        vec![
            Header::new(b":method", method),
            Header::new(b":scheme", b"https"),
            Header::new(b":authority", b"fuzz.test"),
            Header::new(b":path", path),
        ]
    };
    let with = |method: &[u8], name: &[u8], value: &[u8]| {
        let mut fields = head(method);
        fields.push(Header::new(name, value));
        fields
    };
    match kind >> 4 {
        0..=3 => client.request(&head(b"GET"), 0, true),
        4 => client.request(&head(b"HEAD"), 0, true),
        5 => client.request(&with(b"POST", b"content-length", b"1000"), 1_000, true),
        6 => client.request(&with(b"POST", b"content-length", b"1000"), 400, false),
        7 => client.request(&with(b"POST", b"content-length", b"10"), 400, true),
        8 => client.request(&head(b"POST"), 150_000, true),
        9 => client.request(&head(b"POST"), 5_000, false),
        10 => client.request(&with(b"GET", b"wide", &[b'w'; 3_000]), 0, true),
        11 => client.request(&with(b"GET", b"wide", &[b'w'; 9_000]), 0, true),
        12 => client.request(&head(b"CONNECT"), 0, false),
        13 => client.request(&with(b"GET", b"Connection", b"close\r\n"), 0, true),
        14 => client.request(&head(b"GET")[..2], 0, true),
        _ => client.request(&head(b"POST"), 0, false),
    }
}
