//! How a row is put on the wire, and how its fields are written.

use std::panic::{AssertUnwindSafe, catch_unwind};

use spooky_tests::raw::{Raw, frame, kind, qpack};
use spooky_tests::rig::{Options, Peer, Rig};

/// A field section as tests write and compare it: bytes as the characters of the
/// same number.
pub(crate) type List = Vec<(String, String)>;

/// In how many pieces the bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// In one, with the FIN if there is one.
    One,
    /// In one, and the FIN alone behind it.
    LoneFin,
    /// Each byte for itself.
    Bytes,
}

/// The bytes of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fin: bool,
}

impl Stream {
    /// The ways in which it may come.
    pub(crate) fn ways(&self) -> Vec<Pieces> {
        let mut ways = vec![Pieces::One];
        if self.fin && !self.bytes.is_empty() {
            ways.push(Pieces::LoneFin);
        }
        if self.bytes.len() > 1 {
            ways.push(Pieces::Bytes);
        }
        ways
    }

    /// What to send, one after the other. A long tail comes in larger pieces: what
    /// is read byte by byte stands at the front.
    pub(crate) fn cut(&self, pieces: Pieces) -> Vec<(&[u8], bool)> {
        let parts: Vec<&[u8]> = match pieces {
            Pieces::Bytes if self.bytes.is_empty() => return vec![(&[], self.fin)],
            Pieces::One => return vec![(&self.bytes, self.fin)],
            Pieces::LoneFin => return vec![(&self.bytes, false), (&[], true)],
            Pieces::Bytes => {
                let (front, tail) = self.bytes.split_at(self.bytes.len().min(400));
                front.chunks(1).chain(tail.chunks(1000)).collect()
            }
        };
        let last = parts.len() - 1;
        let fins = parts.into_iter().enumerate();
        fins.map(|(at, part)| (part, self.fin && at == last))
            .collect()
    }
}

/// Runs every row in every way, and fails with all that went wrong.
pub(crate) fn all<R>(
    rows: &[R],
    name: impl Fn(&R) -> String,
    ways: impl Fn(&R) -> Vec<Pieces>,
    run: impl Fn(&R, Pieces) -> Result<(), String>,
) {
    assert!(!rows.is_empty());
    let mut wrong = Vec::new();
    for row in rows {
        for way in ways(row) {
            let result = catch_unwind(AssertUnwindSafe(|| run(row, way)));
            let result = result.unwrap_or_else(|_| Err("it panicked, see above".to_owned()));
            if let Err(why) = result {
                wrong.push(format!("- {} ({way:?}): {why}", name(row)));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of the runs of {} rows went wrong:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

/// A rig whose client and backends speak HTTP/3 by the byte.
pub(crate) fn rig(config: &'static str) -> Rig {
    Rig::new(Options {
        config,
        raw_client: Some(Raw::PLAIN),
        raw_backend: Some(Raw::PLAIN),
        ..Options::default()
    })
}

/// Puts all of `bytes` on a stream of one of the peers, as far as it is let.
pub(crate) fn pour(
    rig: &mut Rig,
    peer: fn(&mut Rig) -> &mut Peer,
    stream: u64,
    bytes: &[u8],
    fin: bool,
) {
    let mut sent = 0;
    loop {
        let took = peer(rig).put(stream, &bytes[sent..], fin);
        sent += took;
        rig.settle();
        if sent == bytes.len() || took == 0 {
            return;
        }
    }
}

/// The client, for [`pour`].
pub(crate) fn client(rig: &mut Rig) -> &mut Peer {
    &mut rig.client
}

/// The backend's first connection, for [`pour`].
pub(crate) fn backend(rig: &mut Rig) -> &mut Peer {
    &mut rig.connections[0].1
}

/// A list from pairs.
pub(crate) fn list(pairs: &[(&str, &str)]) -> List {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

/// The fields of a plain GET, and `extra` behind them.
pub(crate) fn get(extra: &[(&str, &str)]) -> List {
    request("GET", "/", extra)
}

/// The fields of a plain request, and `extra` behind them.
pub(crate) fn request(method: &str, path: &str, extra: &[(&str, &str)]) -> List {
    let plain = [
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
    ];
    list(&[&plain[..], extra].concat())
}

/// The fields with another value for `name`.
pub(crate) fn with(mut fields: List, name: &str, value: &str) -> List {
    let field = fields.iter_mut().find(|field| field.0 == name);
    field.expect("it is there").1 = value.to_owned();
    fields
}

/// The fields without `name`.
pub(crate) fn without(mut fields: List, name: &str) -> List {
    fields.retain(|field| field.0 != name);
    fields
}

/// The bytes that a text's characters stand for.
fn bytes(text: &str) -> Vec<u8> {
    let byte = |c: char| u8::try_from(u32::from(c)).expect("a character that is a byte");
    text.chars().map(byte).collect()
}

/// The field section of a list, all of it literals.
pub(crate) fn section(fields: &[(String, String)]) -> Vec<u8> {
    let pairs: Vec<_> = fields.iter().map(|(n, v)| (bytes(n), bytes(v))).collect();
    qpack::section(&pairs)
}

/// A HEADERS frame.
pub(crate) fn headers(fields: &[(String, String)]) -> Vec<u8> {
    frame(kind::HEADERS, &section(fields))
}

/// A DATA frame.
pub(crate) fn data(body: &[u8]) -> Vec<u8> {
    frame(kind::DATA, body)
}

/// Fields in the form in which two of them are compared: without what Spooky adds,
/// pseudo-header fields first and in the order of the alphabet, as theirs is free.
pub(crate) fn comparable(mut fields: List, added: &[&str]) -> List {
    fields.retain(|(name, _)| !added.contains(&name.as_str()));
    let (mut pseudo, rest): (List, List) = fields
        .into_iter()
        .partition(|(name, _)| name.starts_with(':'));
    pseudo.sort();
    pseudo.extend(rest);
    pseudo
}

/// Says what differs.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    got: &T,
    expected: &T,
) -> Result<(), String> {
    if got == expected {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:?}, got {got:?}"))
}

/// The same for a condition.
pub(crate) fn holds(what: &str, condition: bool) -> Result<(), String> {
    if condition {
        Ok(())
    } else {
        Err(what.to_owned())
    }
}
