//! What stands on control streams: settings, ids, and frames of other streams.

use spooky_tests::raw::{code, frame, kind, lying, settings, varint};

use crate::row::{get, headers};
use crate::streams::{BACKEND, BOTH, CLIENT, behind, check, control, row};

#[test]
fn settings_come_first_and_once() {
    let missing = Some(code::MISSING_SETTINGS);
    let unexpected = Some(code::FRAME_UNEXPECTED);
    let rule = "RFC 9114 6.2.1";
    check(&[
        row("empty SETTINGS", rule, BOTH, behind(b""), None),
        row(
            "GOAWAY first",
            rule,
            BOTH,
            control(&frame(kind::GOAWAY, &[0])),
            missing,
        ),
        row(
            "an unknown frame first",
            rule,
            BOTH,
            control(&frame(kind::GREASE, b"x")),
            missing,
        ),
        row(
            "MAX_PUSH_ID first",
            rule,
            CLIENT,
            control(&frame(kind::MAX_PUSH_ID, &[0])),
            missing,
        ),
        row(
            "SETTINGS twice",
            "RFC 9114 7.2.4",
            BOTH,
            behind(&settings(&[])),
            unexpected,
        ),
        row(
            "SETTINGS twice, later",
            "RFC 9114 7.2.4",
            BOTH,
            behind(&[frame(kind::GREASE, b""), settings(&[])].concat()),
            unexpected,
        ),
    ]);
}

#[test]
fn settings_are_known_ignored_or_wrong() {
    let wrong = Some(code::SETTINGS_ERROR);
    let with = |pairs: &[(u64, u64)]| control(&settings(pairs));
    let mut rows = vec![
        row(
            "known ones",
            "RFC 9114 7.2.4.1",
            BOTH,
            with(&[(0x1, 0), (0x7, 0), (0x6, 1 << 20)]),
            None,
        ),
        row(
            "unknown ones",
            "RFC 9114 7.2.4",
            BOTH,
            with(&[(0x1f * 3 + 0x21, 7), (0x4321, 1), ((1 << 62) - 1, 0)]),
            None,
        ),
        row(
            "one twice",
            "RFC 9114 7.2.4",
            BOTH,
            with(&[(0x6, 1), (0x6, 1)]),
            wrong,
        ),
        row(
            "ENABLE_CONNECT_PROTOCOL of 2",
            "RFC 9220 3, RFC 8441 3",
            BOTH,
            with(&[(0x8, 2)]),
            wrong,
        ),
        row(
            "H3_DATAGRAM of 2",
            "RFC 9297 2.1.1",
            BOTH,
            with(&[(0x33, 2)]),
            wrong,
        ),
        row(
            "a table of our own size",
            "RFC 9204 5",
            BOTH,
            with(&[(0x1, 4096), (0x7, 100)]),
            None,
        ),
    ];
    for reserved in [0x2, 0x3, 0x4, 0x5] {
        rows.push(row(
            &format!("setting {reserved:#x} of HTTP/2"),
            "RFC 9114 7.2.4.1",
            BOTH,
            with(&[(reserved, 0)]),
            wrong,
        ));
    }
    let cut = |bytes: &[u8]| control(&frame(kind::SETTINGS, bytes));
    for (name, bytes) in [
        ("an id alone", &[0x6][..]),
        ("half a value", &[0x6, 0x40]),
        ("half an id", &[0x40]),
    ] {
        rows.push(row(
            name,
            "RFC 9114 7.1",
            BOTH,
            cut(bytes),
            Some(code::FRAME_ERROR),
        ));
    }
    check(&rows);
}

#[test]
fn a_control_stream_has_frames_of_its_own() {
    let unexpected = Some(code::FRAME_UNEXPECTED);
    let mut rows = vec![
        row(
            "DATA",
            "RFC 9114 7.2.1",
            BOTH,
            behind(&frame(kind::DATA, b"x")),
            unexpected,
        ),
        row(
            "HEADERS",
            "RFC 9114 7.2.2",
            BOTH,
            behind(&headers(&get(&[]))),
            unexpected,
        ),
        row(
            "PUSH_PROMISE",
            "RFC 9114 7.2.5",
            BOTH,
            behind(&frame(kind::PUSH_PROMISE, &[0, 0, 0])),
            unexpected,
        ),
        row(
            "MAX_PUSH_ID",
            "RFC 9114 7.2.7",
            BACKEND,
            behind(&frame(kind::MAX_PUSH_ID, &[0])),
            unexpected,
        ),
        row(
            "PRIORITY_UPDATE",
            "RFC 9218 7.2",
            BACKEND,
            behind(&frame(kind::PRIORITY_UPDATE, b"\0u=1")),
            unexpected,
        ),
        row(
            "an unknown frame",
            "RFC 9114 9",
            BOTH,
            behind(&[frame(kind::GREASE, b"x"), frame(0xf, &[0; 5000])].concat()),
            None,
        ),
        row(
            "an empty unknown frame",
            "RFC 9114 9",
            BOTH,
            behind(&frame(kind::GREASE, b"")),
            None,
        ),
        row(
            "a long unknown frame that goes on",
            "RFC 9114 9",
            BOTH,
            behind(&lying(kind::GREASE, 1 << 40, b"abc")),
            None,
        ),
    ];
    for reserved in kind::RESERVED {
        rows.push(row(
            &format!("type {reserved:#x} of HTTP/2"),
            "RFC 9114 7.2.8",
            BOTH,
            behind(&frame(reserved, &[0])),
            unexpected,
        ));
    }
    check(&rows);
}

#[test]
fn ids_of_goaways_keep_their_rules() {
    let wrong = Some(code::ID_ERROR);
    let cut = Some(code::FRAME_ERROR);
    let goaway = |id: u64| frame(kind::GOAWAY, &varint(id));
    check(&[
        row("GOAWAY", "RFC 9114 5.2", CLIENT, behind(&goaway(0)), None),
        row(
            "GOAWAY that goes down",
            "RFC 9114 5.2",
            CLIENT,
            behind(&[goaway(9), goaway(3), goaway(3)].concat()),
            None,
        ),
        row(
            "GOAWAY that goes up",
            "RFC 9114 5.2",
            BOTH,
            behind(&[goaway(4), goaway(8)].concat()),
            wrong,
        ),
        row(
            "GOAWAY that goes down",
            "RFC 9114 5.2",
            BACKEND,
            behind(&[goaway(1 << 61), goaway(4)].concat()),
            None,
        ),
        row(
            "GOAWAY with the id of no request",
            "RFC 9114 7.2.6",
            BACKEND,
            behind(&goaway(5)),
            wrong,
        ),
        row(
            "GOAWAY with the id of a unidirectional stream",
            "RFC 9114 7.2.6",
            BACKEND,
            behind(&goaway(6)),
            wrong,
        ),
        row(
            "GOAWAY without an id",
            "RFC 9114 7.1",
            BOTH,
            behind(&frame(kind::GOAWAY, &[])),
            cut,
        ),
        row(
            "GOAWAY with half an id",
            "RFC 9114 7.1",
            BOTH,
            behind(&frame(kind::GOAWAY, &[0x40])),
            cut,
        ),
        row(
            "GOAWAY with more than an id",
            "RFC 9114 7.1",
            BOTH,
            behind(&frame(kind::GOAWAY, &[0, 0])),
            cut,
        ),
    ]);
}

#[test]
fn ids_of_pushes_and_priorities_keep_their_rules() {
    let wrong = Some(code::ID_ERROR);
    let cut = Some(code::FRAME_ERROR);
    let push = |id: u64| frame(kind::MAX_PUSH_ID, &varint(id));
    let update = |id: u64| frame(kind::PRIORITY_UPDATE, &[&varint(id)[..], b"u=1"].concat());
    check(&[
        row(
            "MAX_PUSH_ID that goes up",
            "RFC 9114 7.2.7",
            CLIENT,
            behind(&[push(0), push(7)].concat()),
            None,
        ),
        row(
            "MAX_PUSH_ID that goes down",
            "RFC 9114 7.2.7",
            CLIENT,
            behind(&[push(7), push(6)].concat()),
            wrong,
        ),
        row(
            "MAX_PUSH_ID with more than an id",
            "RFC 9114 7.1",
            CLIENT,
            behind(&frame(kind::MAX_PUSH_ID, &[0, 0])),
            cut,
        ),
        row(
            "CANCEL_PUSH of no promise",
            "RFC 9114 7.2.3",
            BOTH,
            behind(&frame(kind::CANCEL_PUSH, &[0])),
            wrong,
        ),
        row(
            "CANCEL_PUSH without an id",
            "RFC 9114 7.1",
            BOTH,
            behind(&frame(kind::CANCEL_PUSH, &[])),
            cut,
        ),
        row(
            "PRIORITY_UPDATE",
            "RFC 9218 7.2",
            CLIENT,
            behind(&update(0)),
            None,
        ),
        row(
            "PRIORITY_UPDATE of no request stream",
            "RFC 9218 7.2",
            CLIENT,
            behind(&update(2)),
            wrong,
        ),
        row(
            "PRIORITY_UPDATE beyond the limit of streams",
            "RFC 9218 7.2",
            CLIENT,
            behind(&update(1 << 40)),
            wrong,
        ),
    ]);
}
