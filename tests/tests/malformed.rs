//! What breaks the rules of HTTP, at the moments when plain quiche lets it through.

use quiche::h3::Header;
use spooky_core::observe::{Outcome, Reason};
use spooky_tests::rig::{Options, Rig};

#[test]
fn a_request_that_breaks_a_rule_is_answered_and_goes_nowhere() {
    let mut rig = Rig::new(Options::default());
    let upgrade = [("upgrade", "h2c")];
    for (method, path, extra, status, reason) in [
        ("GET", "nowhere", &[][..], "400", Reason::BadRequest),
        ("G T", "/", &[], "400", Reason::BadRequest),
        ("GET", "/", &upgrade, "400", Reason::BadRequest),
        ("CONNECT", "/", &[], "501", Reason::ConnectRefused),
    ] {
        for fin in [true, false] {
            let stream = rig.request(method, path, extra, fin);
            rig.settle();
            assert_eq!(rig.client.status(stream).as_deref(), Some(status), "{path}");
            let record = rig.records.pop().expect("it ended");
            assert_eq!(record.outcome, Outcome::LocalReply);
            assert_eq!(record.reason, Some(reason));
            assert!(record.request.is_none(), "there is no head to tell of");
            let sound = (method != "G T").then_some(method.as_bytes());
            assert_eq!(record.method(), sound, "what is sound is told");
            assert_eq!(record.path(), Some(path.as_bytes()));
            assert_eq!(record.authority(), Some(&b"localhost"[..]));
        }
    }
    assert!(rig.connections.is_empty(), "no backend hears of it");
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], true);
    rig.settle();
    assert!(rig.client.is_finished(stream), "the connection lives on");
}

#[test]
fn trailers_of_a_request_that_break_a_rule_never_end_it_clean_at_the_backend() {
    let mut rig = Rig::new(Options::default());
    let stream = rig.request("POST", "/", &[], false);
    rig.client.write(stream, b"body", false);
    rig.settle();
    let asked = rig.asked(0);
    let (h3, quic) = rig.client.http();
    h3.send_additional_headers(quic, stream, &[Header::new(b":path", b"/")], true, true)
        .expect("quiche sends any trailers");
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("400"));
    let backend = &mut rig.connections[0].1;
    assert_eq!(backend.read(asked, 100), b"", "the reset took it away");
    assert!(!backend.is_finished(asked));
    assert_eq!(
        backend.reset_code(asked),
        Some(0x10c),
        "H3_REQUEST_CANCELLED"
    );
    assert_eq!(
        told(&rig),
        (
            Reason::BadRequest,
            "malformed trailers: pseudo-header field"
        )
    );
}

#[test]
fn a_request_that_breaks_a_rule_after_its_response_began_is_reset_as_malformed() {
    let trailers = |rig: &mut Rig, stream| {
        let (h3, quic) = rig.client.http();
        h3.send_additional_headers(quic, stream, &[Header::new(b":path", b"/")], true, true)
            .expect("quiche sends any trailers");
    };
    let body = |rig: &mut Rig, stream| {
        rig.client.write(stream, b"more than five", true);
    };
    let ways: [(Spoil, Reason); 2] = [
        (trailers, Reason::BadRequest),
        (body, Reason::RequestIncomplete),
    ];
    for (spoil, reason) in ways {
        let mut rig = Rig::new(Options::default());
        let stream = rig.request("POST", "/", &[("content-length", "5")], false);
        rig.client.write(stream, b"five!", false);
        rig.settle();
        let asked = rig.asked(0);
        rig.answer(0, asked, &[], false);
        rig.settle();
        assert_eq!(rig.client.status(stream).as_deref(), Some("200"));
        spoil(&mut rig, stream);
        rig.settle();
        let code = rig.client.reset_code(stream);
        assert_eq!(code, Some(0x10e), "H3_MESSAGE_ERROR, RFC 9114 4.1.2");
        assert_eq!(told(&rig).0, reason);
    }
}

#[test]
fn trailers_of_a_response_that_break_a_rule_never_end_it_clean_at_the_client() {
    let (mut rig, stream, asked) = asking();
    rig.answer(0, asked, &[], false);
    rig.settle();
    headers(&mut rig, asked, (":status", "200"), true);
    rig.settle();
    assert!(!rig.client.is_finished(stream));
    assert_eq!(
        rig.client.reset_code(stream),
        Some(0x102),
        "H3_INTERNAL_ERROR"
    );
    assert_eq!(
        told(&rig),
        (
            Reason::BadResponse,
            "malformed trailers: pseudo-header field"
        )
    );
}

/// RFC 9114 section 4.1: frames out of order are a fault of the connection.
#[test]
fn a_body_before_its_head_is_a_502_and_costs_the_backend_its_connection() {
    let (mut rig, stream, asked) = asking();
    raw(&mut rig, asked, &BODY, false);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("502"));
    assert_eq!(told(&rig), (Reason::BackendGone, BEFORE));
    let closed = rig.connections[0].1.quic.peer_error();
    assert_eq!(closed.map(|e| e.error_code), Some(0x105));
}

#[test]
fn an_informational_head_is_no_head_for_a_body_or_an_end() {
    let without = "the stream ended without a response";
    for (bytes, fin, reason) in [
        (&BODY[..], false, (Reason::BackendGone, BEFORE)),
        (b"", true, (Reason::BadResponse, without)),
    ] {
        let (mut rig, stream, asked) = asking();
        informational(&mut rig, asked);
        raw(&mut rig, asked, bytes, fin);
        rig.settle();
        assert_eq!(rig.client.status(stream).as_deref(), Some("502"));
        assert_eq!(told(&rig), reason);
    }
}

#[test]
fn an_end_that_comes_too_soon_never_ends_the_response_clean() {
    let (mut rig, stream, asked) = asking();
    rig.answer(0, asked, &[("content-length", "10")], false);
    rig.connections[0].1.write(asked, b"five!", false);
    rig.settle();
    assert_eq!(rig.client.read(stream, 100), b"five!");
    raw(&mut rig, asked, b"", true);
    rig.settle();
    assert!(!rig.client.is_finished(stream));
    assert_eq!(
        rig.client.reset_code(stream),
        Some(0x102),
        "H3_INTERNAL_ERROR"
    );
    let detail = "the body is not as long as its content-length";
    assert_eq!(told(&rig), (Reason::ResponseIncomplete, detail));
}

#[test]
fn informational_heads_are_passed_on_up_to_a_bound() {
    let most = spooky_core::limits::INFORMATIONAL as usize;
    let (mut rig, stream, asked) = asking();
    (0..most).for_each(|_| informational(&mut rig, asked));
    rig.settle();
    assert_eq!(rig.client.heads(), most);
    assert_eq!(rig.client.status(stream).as_deref(), Some("103"));
    assert!(rig.records.is_empty());
    informational(&mut rig, asked);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("502"));
    assert_eq!(
        told(&rig),
        (Reason::BadResponse, "too many informational responses")
    );
}

const BEFORE: &str = "closed with code 0x105: a DATA frame before the head";
/// What a client does wrong on a stream.
type Spoil = fn(&mut Rig, u64);

/// A DATA frame.
const BODY: [u8; 6] = [0, 4, b'b', b'o', b'd', b'y'];

/// A rig with a request at its backend: the client's stream, and the backend's.
fn asking() -> (Rig, u64, u64) {
    let mut rig = Rig::new(Options::default());
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    (rig, stream, asked)
}

/// Bytes of the backend's stream that its HTTP/3 would not send.
fn raw(rig: &mut Rig, asked: u64, bytes: &[u8], fin: bool) {
    let quic = &mut rig.connections[0].1.quic;
    let sent = quic.stream_send(asked, bytes, fin);
    assert_eq!(sent.expect("room for a frame"), bytes.len());
}

/// The backend's next informational head.
fn informational(rig: &mut Rig, asked: u64) {
    let early = (":status", "103");
    let (h3, quic) = rig.connections[0].1.http();
    let fields = [Header::new(early.0.as_bytes(), early.1.as_bytes())];
    if h3.send_response(quic, asked, &fields, false).is_err() {
        headers(rig, asked, early, false);
    }
}

/// A further HEADERS frame of the backend.
fn headers(rig: &mut Rig, asked: u64, (name, value): (&str, &str), trailers: bool) {
    let fields = [Header::new(name.as_bytes(), value.as_bytes())];
    let (h3, quic) = rig.connections[0].1.http();
    h3.send_additional_headers(quic, asked, &fields, trailers, trailers)
        .expect("quiche sends any fields");
}

/// Why the only request that ended did.
fn told(rig: &Rig) -> (Reason, &str) {
    let [record] = &rig.records[..] else {
        panic!("{:?}", rig.records)
    };
    let reason = record.reason.expect("there is a reason");
    (reason, record.detail.as_deref().unwrap_or_default())
}
