use super::super::source::Lines;
use super::*;

const SERVER: Rules = Rules {
    role: Role::Server,
    bounds: Bounds {
        bytes: 200,
        fields: 5,
    },
};
const CLIENT: Rules = Rules {
    role: Role::Client,
    ..SERVER
};
/// HEADERS: `:status: 200`.
const FINAL: [u8; 5] = [1, 3, 0, 0, 0xd9];
/// HEADERS: `:status: 103`.
const EARLY: [u8; 5] = [1, 3, 0, 0, 0xd8];
const BODY: [u8; 6] = [0, 4, b'b', b'o', b'd', b'y'];
const UNKNOWN: [u8; 4] = [0x21, 2, 9, 9];

/// What a stream said, as far as it went.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    sections: usize,
    too_large: usize,
    body: Vec<u8>,
    end: Option<Result<(), u64>>,
    fault: Option<u64>,
}

#[test]
fn messages_are_read_however_they_come() {
    let empty = [0, 0];
    let message = [
        &UNKNOWN[..],
        &FINAL,
        &UNKNOWN,
        &BODY,
        &empty,
        &BODY,
        &UNKNOWN,
        &FINAL,
        &UNKNOWN,
    ]
    .concat();
    let heard = Heard {
        sections: 2,
        body: b"bodybody".to_vec(),
        end: Some(Ok(())),
        ..Heard::default()
    };
    assert_eq!(all_ways(&message, SERVER, true), heard);
    assert_eq!(all_ways(&message, CLIENT, true), heard);
    let early = [&EARLY[..], &EARLY, &EARLY, &FINAL, &BODY].concat();
    let heard = all_ways(&early, CLIENT, true);
    assert_eq!((heard.sections, &heard.body[..]), (4, &b"body"[..]));
}

#[test]
fn an_end_within_a_frame_is_a_fault_and_between_frames_is_none() {
    let message = [&FINAL[..], &BODY, &UNKNOWN].concat();
    let borders = [0, FINAL.len(), FINAL.len() + BODY.len(), message.len()];
    for end in 0..=message.len() {
        let heard = all_ways(&message[..end], SERVER, true);
        let expected = if borders.contains(&end) {
            (None, Some(Ok(())))
        } else {
            (Some(error::FRAME_ERROR), None)
        };
        assert_eq!((heard.fault, heard.end), expected, "{end}");
    }
}

#[test]
fn frames_out_of_order_are_a_fault() {
    let unexpected = Some(error::FRAME_UNEXPECTED);
    for frames in [
        &[&BODY[..]][..],
        &[&UNKNOWN, &BODY],
        &[&FINAL, &FINAL, &FINAL],
        &[&FINAL, &FINAL, &BODY],
        &[&FINAL, &[4, 0]],
        &[&[2, 0]],
    ] {
        assert_eq!(
            all_ways(&frames.concat(), SERVER, false).fault,
            unexpected,
            "{frames:?}"
        );
    }
    let fault = |frames: &[&[u8]]| all_ways(&frames.concat(), CLIENT, false).fault;
    assert_eq!(fault(&[&EARLY, &BODY]), unexpected, "an early head is none");
    assert_eq!(
        fault(&[&FINAL, &EARLY]),
        None,
        "trailers, malformed elsewhere"
    );
    assert_eq!(fault(&[&FINAL, &EARLY, &FINAL]), unexpected);
}

#[test]
fn what_cannot_be_decoded_is_a_fault() {
    let failed = Some(error::QPACK_DECOMPRESSION_FAILED);
    for section in [
        &[1, 0][..],
        &[1, 1, 0],
        &[1, 3, 0, 0, 0x80],
        &[1, 3, 1, 0, 0xd9],
    ] {
        assert_eq!(
            all_ways(section, SERVER, false).fault,
            failed,
            "{section:?}"
        );
    }
}

#[test]
fn a_section_beyond_the_bounds_is_skipped_and_the_stream_goes_on() {
    // Six fields, then more bytes than there may be.
    let many = [&[1, 8, 0, 0][..], &[0xd9; 6]].concat();
    let long = [&[1, 0x41, 0][..], &[b'x'; 256]].concat();
    for section in [many, long] {
        let message = [&section[..], &BODY].concat();
        let heard = all_ways(&message, SERVER, true);
        assert_eq!((heard.too_large, heard.sections), (1, 0));
        assert_eq!((heard.body, heard.end), (b"body".to_vec(), Some(Ok(()))));
        let trailers = [&FINAL[..], &section].concat();
        let heard = all_ways(&trailers, CLIENT, true);
        assert_eq!((heard.too_large, heard.sections), (1, 1));
    }
}

#[test]
fn a_long_section_is_told_of_before_it_is_there_and_never_held() {
    let mut source = Lines::new(&[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let (mut inbound, mut scratch) = (Inbound::new(), Vec::new());
    let mut next = |source: &mut Lines| inbound.next(source, SERVER, &mut scratch);
    let told = next(&mut source);
    assert!(matches!(told, Ok(Some(Found::TooLarge(..)))));
    source.add(&[0; 100_000]);
    assert_eq!(next(&mut source), Ok(None));
    assert_eq!(inbound.section.capacity(), 0);
    assert!(scratch.capacity() <= PIECE);
}

#[test]
fn frames_that_carry_nothing_are_taken_up_to_a_bound() {
    let most = usize::from(limits::IDLE_FRAMES);
    for idle in [&[0, 0][..], &UNKNOWN] {
        let some = [&FINAL[..], &idle.repeat(most), &BODY, &idle.repeat(most)].concat();
        let heard = play(&some, SERVER, true, some.len(), 100);
        assert_eq!((heard.fault, heard.end), (None, Some(Ok(()))));
        let more = [&FINAL[..], &idle.repeat(most + 1)].concat();
        let heard = play(&more, SERVER, true, more.len(), 100);
        assert_eq!(heard.fault, Some(error::EXCESSIVE_LOAD));
    }
}

#[test]
fn a_reset_is_told_once_wherever_it_comes() {
    let message = [&FINAL[..], &BODY].concat();
    for end in 0..=message.len() {
        let mut source = Lines::new(&message[..end]);
        let (mut inbound, mut scratch) = (Inbound::new(), Vec::new());
        while let Some(found) = inbound.next(&mut source, SERVER, &mut scratch).unwrap() {
            assert!(matches!(found, Found::Section(_) | Found::Body));
        }
        source.resets(7);
        assert!(!inbound.is_unread() || inbound.meets_reset(&mut source));
        assert!(!inbound.is_unread(), "it is asked for its code once");
        let mut found = inbound.next(&mut source, SERVER, &mut scratch).unwrap();
        if found == Some(Found::Body) {
            // Something came where a payload was awaited; reading shows what.
            let read = inbound.read_body(&mut source, SERVER, &mut [0; 9]);
            assert!(read == Ok(0) && inbound.has_rest());
            found = inbound.next(&mut source, SERVER, &mut scratch).unwrap();
        }
        assert_eq!(found, Some(Found::Reset(7)), "{end}");
        assert_eq!(inbound.next(&mut source, SERVER, &mut scratch), Ok(None));
        assert!(!inbound.awaits_head());
    }
}

#[test]
fn it_is_known_whether_a_head_has_come() {
    let mut source = Lines::new(&[1]);
    let (mut inbound, mut scratch) = (Inbound::new(), Vec::new());
    assert_eq!(inbound.next(&mut source, SERVER, &mut scratch), Ok(None));
    assert!(inbound.awaits_head() && !inbound.is_read());
    source.add(&FINAL[1..]);
    source.ends();
    let head = inbound.next(&mut source, SERVER, &mut scratch);
    assert!(matches!(head, Ok(Some(Found::Section(_)))));
    assert!(
        !inbound.awaits_head() && inbound.is_read(),
        "the end came with it"
    );
}

/// Plays `bytes` at once and in pieces of each size, with reads of each size; what
/// is heard must be the same.
fn all_ways(bytes: &[u8], rules: Rules, ends: bool) -> Heard {
    let whole = play(bytes, rules, ends, bytes.len().max(1), 100);
    for piece in 1..8 {
        for room in [1, 2, 3, 100] {
            let heard = play(bytes, rules, ends, piece, room);
            assert_eq!(heard, whole, "pieces of {piece}, reads of {room}");
        }
    }
    whole
}

/// What a fault cuts off counts for nothing.
fn play(bytes: &[u8], rules: Rules, ends: bool, piece: usize, room: usize) -> Heard {
    let mut heard = play_all(bytes, rules, ends, piece, room);
    if heard.fault.is_some() {
        heard.body.clear();
    }
    heard
}

fn play_all(bytes: &[u8], rules: Rules, ends: bool, piece: usize, room: usize) -> Heard {
    let (mut inbound, mut source) = (Inbound::new(), Lines::new(b""));
    let mut heard = Heard::default();
    let mut pieces = bytes.chunks(piece).peekable();
    while let Some(piece) = pieces.next() {
        source.add(piece);
        if ends && pieces.peek().is_none() {
            source.ends();
        }
        hear(&mut heard, &mut inbound, &mut source, rules, room);
    }
    if ends && bytes.is_empty() {
        source.ends();
        hear(&mut heard, &mut inbound, &mut source, rules, room);
    }
    heard
}

fn hear(heard: &mut Heard, inbound: &mut Inbound, source: &mut Lines, rules: Rules, room: usize) {
    let (mut buf, mut scratch) = (vec![0; room], Vec::new());
    while heard.fault.is_none() {
        match inbound.next(source, rules, &mut scratch) {
            Ok(None) => return,
            Ok(Some(Found::Section(_))) => heard.sections += 1,
            Ok(Some(Found::TooLarge(..))) => heard.too_large += 1,
            Ok(Some(Found::End)) => heard.end = Some(Ok(())),
            Ok(Some(Found::Reset(code))) => heard.end = Some(Err(code)),
            Ok(Some(Found::Body)) => loop {
                match inbound.read_body(source, rules, &mut buf) {
                    Ok(read) => {
                        heard.body.extend(&buf[..read]);
                        if read < room {
                            break;
                        }
                    }
                    Err(fault) => {
                        heard.fault = Some(fault.code);
                        return;
                    }
                }
            },
            Err(fault) => heard.fault = Some(fault.code),
        }
    }
}
