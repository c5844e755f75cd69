//! Control and other unidirectional streams, of clients and of backends.

use spooky_tests::raw::{Raw, code, kind, qpack, settings, uni, varint};
use spooky_tests::rig::{Options, Peer, Rig};

use crate::row::{self, Pieces, Stream, get, headers, holds, same};

/// Which side misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Backend,
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    Not,
    Fin,
    Reset,
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    name: String,
    rule: &'static str,
    sides: &'static [Side],
    /// Streams in the order in which they are opened, type and all.
    streams: Vec<(Vec<u8>, Ends)>,
    /// The code that closes the connection, if one does.
    closed: Option<u64>,
}

pub(crate) const BOTH: &[Side] = &[Side::Client, Side::Backend];
pub(crate) const CLIENT: &[Side] = &[Side::Client];
pub(crate) const BACKEND: &[Side] = &[Side::Backend];

/// A control stream that carries this behind its type.
pub(crate) fn control(bytes: &[u8]) -> Vec<u8> {
    [&varint(uni::CONTROL)[..], bytes].concat()
}

/// A good control stream that goes on with this.
pub(crate) fn behind(bytes: &[u8]) -> Vec<u8> {
    control(&[&settings(&[])[..], bytes].concat())
}

pub(crate) fn row(
    name: &str,
    rule: &'static str,
    sides: &'static [Side],
    bytes: Vec<u8>,
    closed: Option<u64>,
) -> Row {
    Row {
        name: name.to_owned(),
        rule,
        sides,
        streams: vec![(bytes, Ends::Not)],
        closed,
    }
}

impl Row {
    fn and(mut self, bytes: Vec<u8>, ends: Ends) -> Row {
        self.streams.push((bytes, ends));
        self
    }

    fn ends(mut self, ends: Ends) -> Row {
        self.streams[0].1 = ends;
        self
    }
}

pub(crate) fn check(rows: &[Row]) {
    let both: Vec<(&Row, Side)> = rows
        .iter()
        .flat_map(|row| row.sides.iter().map(move |&side| (row, side)))
        .collect();
    row::all(
        &both,
        |(row, side)| format!("{} of the {side:?} [{}]", row.name, row.rule),
        |_| vec![Pieces::One, Pieces::Bytes],
        |(row, side), pieces| run(row, *side, pieces),
    );
}

fn run(row: &Row, side: Side, pieces: Pieces) -> Result<(), String> {
    let raw = |this| Some(if side == this { &[][..] } else { Raw::PLAIN });
    let mut rig = Rig::new(Options {
        raw_client: raw(Side::Client),
        raw_backend: raw(Side::Backend),
        ..Options::default()
    });
    if side == Side::Backend {
        // A connection to a backend is made for a request.
        rig.client.put(0, &headers(&get(&[])), true);
        rig.settle();
    }
    let (first, peer): (u64, fn(&mut Rig) -> &mut Peer) = match side {
        Side::Client => (2, row::client),
        Side::Backend => (3, row::backend),
    };
    for (at, (bytes, ends)) in row.streams.iter().enumerate() {
        let id = first + 4 * at as u64;
        let stream = Stream {
            bytes: bytes.clone(),
            fin: *ends == Ends::Fin,
        };
        for (part, fin) in stream.cut(pieces) {
            row::pour(&mut rig, peer, id, part, fin);
        }
        if *ends == Ends::Reset {
            let shut = peer(&mut rig)
                .quic
                .stream_shutdown(id, quiche::Shutdown::Write, 0);
            // `Done`: Spooky wants no more of it, and quiche has reset it.
            let reset = matches!(shut, Ok(()) | Err(quiche::Error::Done));
            holds(&format!("{shut:?}"), reset || row.closed.is_some())?;
            rig.settle();
        }
    }
    let code = peer(&mut rig).close_code();
    same("closed with", &code, &row.closed)?;
    if row.closed.is_some() && side == Side::Client {
        return Ok(());
    }
    same(
        "the client was closed with",
        &rig.client.close_code(),
        &None,
    )?;
    if side == Side::Backend && row.closed.is_none() {
        return answered(&mut rig, 0);
    }
    if side == Side::Client {
        return crate::asking::lives_on(&mut rig);
    }
    Ok(())
}

/// The backend answers what it was asked first, and the client gets it.
fn answered(rig: &mut Rig, stream: u64) -> Result<(), String> {
    let bytes = headers(&row::list(&[(":status", "204")]));
    rig.connections[0].1.put(stream, &bytes, true);
    rig.settle();
    let statuses = spooky_tests::raw::Message::read(&rig.client.on(stream).bytes).statuses();
    same("status", &statuses, &vec!["204".to_owned()])
}

#[test]
fn critical_streams_are_one_of_each_kind_and_stay_open() {
    let twice = Some(code::STREAM_CREATION_ERROR);
    let ended = Some(code::CLOSED_CRITICAL_STREAM);
    let plain = || behind(b"");
    let (encoder, decoder) = (varint(uni::ENCODER), varint(uni::DECODER));
    let mut rows = vec![
        row(
            "two control streams",
            "RFC 9114 6.2.1",
            BOTH,
            plain(),
            twice,
        )
        .and(plain(), Ends::Not),
        row("two encoder streams", "RFC 9204 4.2", BOTH, plain(), twice)
            .and(encoder.clone(), Ends::Not)
            .and(encoder.clone(), Ends::Not),
        row("two decoder streams", "RFC 9204 4.2", BOTH, plain(), twice)
            .and(decoder.clone(), Ends::Not)
            .and(decoder.clone(), Ends::Not),
        row("one of each", "RFC 9204 4.2", BOTH, plain(), None)
            .and(encoder.clone(), Ends::Not)
            .and(decoder.clone(), Ends::Not),
        row(
            "QPACK streams before control",
            "RFC 9114 6.2",
            BOTH,
            encoder.clone(),
            None,
        )
        .and(decoder.clone(), Ends::Not)
        .and(plain(), Ends::Not),
        row(
            "no control stream yet",
            "RFC 9114 7.2.4.2",
            BOTH,
            encoder.clone(),
            None,
        ),
    ];
    for ends in [Ends::Fin, Ends::Reset] {
        rows.push(
            row(
                &format!("control that ends with {ends:?}"),
                "RFC 9114 6.2.1",
                BOTH,
                plain(),
                ended,
            )
            .ends(ends),
        );
        for (name, bytes) in [("encoder", &encoder), ("decoder", &decoder)] {
            rows.push(
                row(
                    &format!("{name} that ends with {ends:?}"),
                    "RFC 9204 4.2",
                    BOTH,
                    plain(),
                    ended,
                )
                .and(bytes.clone(), ends),
            );
        }
    }
    check(&rows);
}

#[test]
fn streams_of_other_kinds_do_no_harm() {
    let plain = || behind(b"");
    let grease = [&varint(uni::GREASE)[..], b"anything at all"].concat();
    let mut rows = Vec::new();
    for ends in [Ends::Not, Ends::Fin, Ends::Reset] {
        rows.push(
            row(
                &format!("an unknown one, end {ends:?}"),
                "RFC 9114 6.2.3, 9",
                BOTH,
                plain(),
                None,
            )
            .and(grease.clone(), ends),
        );
    }
    // RFC 9114 section 6.2: "A receiver MUST tolerate unidirectional streams being closed
    // or reset prior to the reception of the unidirectional stream header."
    for ends in [Ends::Fin, Ends::Reset] {
        rows.push(
            row(
                &format!("half a type and {ends:?}"),
                "RFC 9114 6.2",
                BOTH,
                plain(),
                None,
            )
            .and(vec![0x40], ends),
        );
    }
    rows.push(row("a bare end", "RFC 9114 6.2", BOTH, plain(), None).and(vec![], Ends::Fin));
    rows.push(
        row(
            "a push of a client",
            "RFC 9114 6.2.2",
            CLIENT,
            plain(),
            Some(code::STREAM_CREATION_ERROR),
        )
        .and(varint(uni::PUSH), Ends::Not),
    );
    let push = [varint(uni::PUSH), varint(0)].concat();
    rows.push(
        row(
            "a push that nobody allowed",
            "RFC 9114 4.6",
            BACKEND,
            plain(),
            Some(code::ID_ERROR),
        )
        .and(push, Ends::Not),
    );
    check(&rows);
}

#[test]
fn instructions_for_a_table_that_is_not_there_are_errors() {
    let plain = || behind(b"");
    let encoder = |bytes: &[u8]| [&varint(uni::ENCODER)[..], bytes].concat();
    let decoder = |bytes: &[u8]| [&varint(uni::DECODER)[..], bytes].concat();
    let (wrong, odd) = (
        Some(code::QPACK_ENCODER_STREAM_ERROR),
        Some(code::QPACK_DECODER_STREAM_ERROR),
    );
    let insert = [
        qpack::integer(1, 5, 0b0100_0000),
        b"a".to_vec(),
        qpack::string(b"b"),
    ]
    .concat();
    let named = [qpack::integer(1, 6, 0b1100_0000), qpack::string(b"b")].concat();
    check(&[
        row("a capacity of 0", "RFC 9204 4.3.1", BOTH, plain(), None)
            .and(encoder(&qpack::integer(0, 5, 0x20)), Ends::Not),
        row("a capacity of 1", "RFC 9204 4.3.1", BOTH, plain(), wrong)
            .and(encoder(&qpack::integer(1, 5, 0x20)), Ends::Not),
        row("a capacity of 2^40", "RFC 9204 4.3.1", BOTH, plain(), wrong)
            .and(encoder(&qpack::integer(1 << 40, 5, 0x20)), Ends::Not),
        row("an insert", "RFC 9204 3.2.2", BOTH, plain(), wrong).and(encoder(&insert), Ends::Not),
        row(
            "an insert by a static name",
            "RFC 9204 3.2.2",
            BOTH,
            plain(),
            wrong,
        )
        .and(encoder(&named), Ends::Not),
        row("a duplicate", "RFC 9204 4.3.4", BOTH, plain(), wrong)
            .and(encoder(&qpack::integer(0, 5, 0)), Ends::Not),
        row("an increment of 0", "RFC 9204 4.4.3", BOTH, plain(), odd)
            .and(decoder(&qpack::integer(0, 6, 0)), Ends::Not),
        row(
            "an increment of what was not sent",
            "RFC 9204 4.4.3",
            BOTH,
            plain(),
            odd,
        )
        .and(decoder(&qpack::integer(1, 6, 0)), Ends::Not),
        row(
            "an acknowledgment of nothing",
            "RFC 9204 4.4.1",
            BOTH,
            plain(),
            odd,
        )
        .and(decoder(&qpack::integer(0, 7, 0x80)), Ends::Not),
        row("a cancellation", "RFC 9204 4.4.2", BOTH, plain(), None)
            .and(decoder(&qpack::integer(0, 6, 0x40)), Ends::Not),
    ]);
}

/// RFC 9114 section 6.1: bidirectional streams of a server are an error, and there is no
/// credit for any.
#[test]
fn a_backend_cannot_open_requests() {
    let mut rig = row::rig("");
    rig.client.put(0, &headers(&get(&[])), true);
    rig.settle();
    let backend = &rig.connections[0].1.quic;
    assert_eq!(backend.peer_streams_left_bidi(), 0);
    assert!(rig.client.quic.peer_streams_left_bidi() > 0, "a client may");
}

/// What Spooky itself opens, on both sides: control with SETTINGS first, no table.
#[test]
fn our_own_control_streams_begin_with_settings() {
    let mut rig = row::rig("");
    rig.client.put(0, &headers(&get(&[])), true);
    rig.settle();
    for peer in [&rig.client, &rig.connections[0].1] {
        let raw = peer.raw.as_ref().expect("raw");
        let opened: Vec<Vec<u8>> = raw.others().iter().map(|&id| raw.on(id).bytes).collect();
        let controls: Vec<&Vec<u8>> = opened
            .iter()
            .filter(|bytes| bytes.first() == Some(&0))
            .collect();
        let [one] = controls[..] else {
            panic!("one control stream: {opened:?}")
        };
        let (frames, rest) = spooky_tests::raw::frames(&one[1..]);
        assert!(rest.is_empty());
        assert_eq!(frames[0].0, kind::SETTINGS, "{frames:?}");
        assert!(!frames[1..].iter().any(|f| f.0 == kind::SETTINGS));
        let mut bytes = frames[0].1;
        while let Some((id, rest)) = spooky_tests::raw::read_varint(bytes) {
            let (value, rest) = spooky_tests::raw::read_varint(rest).expect("pairs");
            assert!(!(0x2..=0x5).contains(&id), "of HTTP/2");
            assert!(id != 0x1 || value == 0, "we keep no dynamic table");
            bytes = rest;
        }
    }
}

/// RFC 9114 section 4.2.2: who has heard of a limit "SHOULD NOT send an HTTP message
/// header that exceeds the indicated size".
#[test]
fn a_peer_gets_no_head_larger_than_it_said_it_takes() {
    // SETTINGS_MAX_FIELD_SECTION_SIZE of 300, which only the first head fits.
    const SMALL: &[u8] = &[0x00, 0x04, 0x03, 0x06, 0x41, 0x2c];
    let mut rig = Rig::new(Options {
        raw_client: Some(Raw::PLAIN),
        raw_backend: Some(SMALL),
        config: "forwarding: {via: off, x_forwarded: off}\n",
        ..Options::default()
    });
    rig.client.put(0, &headers(&get(&[])), true);
    rig.settle();
    assert!(rig.connections[0].1.on(0).fin, "a small one passes");
    rig.client
        .put(4, &headers(&get(&[("x-fill", &"v".repeat(200))])), true);
    rig.settle();
    let raw = rig.connections[0].1.raw.as_ref().expect("raw");
    assert_eq!(raw.requests(), [0], "a large one does not");
    let came = rig.client.on(4);
    let statuses = spooky_tests::raw::Message::read(&came.bytes).statuses();
    assert!(
        matches!(&statuses[..], [one] if one == "431" || one == "502"),
        "{statuses:?}"
    );
}
