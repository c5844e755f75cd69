//! Tickets, and what arrives in 0-RTT: held until the handshake is complete, forwarded
//! where that is asked for and safe, and never twice.

use std::time::Duration;

use quiche::h3;
use spooky_core::observe::{Early, Outcome, Reason, Record};
use spooky_tests::rig::{Options, Rig};

const HOLD: &str = "secret: { env: SECRET }\n";
const FORWARD: &str = "secret: { env: SECRET }\nearly_data: forward\n";
/// A process is old enough after this.
const OLD: Duration = Duration::from_secs(131);

#[test]
fn early_requests_are_held_until_the_handshake_is_complete() {
    let mut rig = connected(HOLD);
    let ticket = rig.ticket().expect("a ticket");
    let (flight, stream) = early_get(&mut rig, &ticket);
    let unheard = rig.without_client(flight);
    assert_eq!(rig.connections.len(), 0, "no backend was even looked for");
    rig.to_client(unheard);
    rig.settle();
    let asked = rig.asked(0);
    assert_eq!(field_at_backend(&rig, 0, "early-data"), None);
    rig.answer(0, asked, &[], true);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("200"));
    let record = only(&rig.records);
    assert_eq!(record.early, Some(Early::Held));
    assert!(record.resumed);
    assert_eq!(record.outcome, Outcome::Complete);
    let counters = rig.proxy.snapshot().counters;
    assert_eq!(counters.handshakes_resumed, 1);
    assert_eq!(counters.requests_early_held, 1);
    assert_eq!(counters.requests_early_forwarded, 0);
}

/// With its body, trailers and all.
#[test]
fn an_early_upload_is_held_whole() {
    for config in [HOLD, FORWARD] {
        let mut rig = connected(config);
        rig.skip(OLD);
        let ticket = rig.ticket().expect("a ticket");
        let mut flight = rig.come_again(Some(&ticket));
        let stream = rig.request("POST", "/early", &[], false);
        assert_eq!(rig.client.write(stream, &[7; 3000], true), 3000);
        flight.extend(rig.client.datagrams());
        let unheard = rig.without_client(flight);
        assert_eq!(rig.asked_of_backends(), 0, "{config}");
        rig.to_client(unheard);
        rig.settle();
        let asked = rig.asked(0);
        let body = rig.connections[0].1.read(asked, 4000);
        assert_eq!(body, [7; 3000]);
        rig.answer(0, asked, &[], true);
        rig.settle();
        assert_eq!(only(&rig.records).early, Some(Early::Held));
    }
}

#[test]
fn safe_requests_go_on_at_once_where_backends_know_of_it() {
    let mut rig = connected(FORWARD);
    rig.skip(OLD);
    let ticket = rig.ticket().expect("a ticket");
    let (flight, stream) = early_get(&mut rig, &ticket);
    let mut unheard = rig.without_client(flight);
    assert_eq!(rig.asked_of_backends(), 1);
    assert_eq!(
        field_at_backend(&rig, 0, "early-data").as_deref(),
        Some("1")
    );
    let asked = rig.asked(0);
    answer_with(&mut rig, asked, "425");
    unheard.extend(rig.without_client(Vec::new()));
    rig.to_client(unheard);
    assert_eq!(
        rig.client.status(stream).as_deref(),
        Some("425"),
        "it is the client that decides whether to try again"
    );
    rig.settle();
    assert_eq!(rig.asked_of_backends(), 1);
    let record = only(&rig.records);
    assert_eq!(record.early, Some(Early::Forwarded));
    assert_eq!(record.status, Some(425));
    assert_eq!(record.backend.as_deref(), Some("b0"));
    // What comes later is as any other request.
    let stream = rig.get("/late");
    rig.settle();
    let asked = rig.asked(0);
    assert_eq!(field_at_backend(&rig, 0, "early-data"), None);
    rig.answer(0, asked, &[], true);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("200"));
    assert_eq!(rig.records[1].early, None);
    assert!(rig.records[1].resumed);
}

/// RFC 8470 section 5.1: "An intermediary MUST NOT remove this header field if it is
/// present in a request."
#[test]
fn what_a_client_says_of_early_data_goes_on() {
    for (config, value) in [(HOLD, "1"), (FORWARD, "1"), (FORWARD, "0")] {
        let mut rig = connected(config);
        rig.skip(OLD);
        let ticket = rig.ticket().expect("a ticket");
        let mut flight = rig.come_again(Some(&ticket));
        rig.request("GET", "/early", &[("early-data", value)], true);
        flight.extend(rig.client.datagrams());
        let unheard = rig.without_client(flight);
        rig.to_client(unheard);
        rig.settle();
        assert_eq!(fields_at_backend(&rig, 0, "early-data"), [value]);
    }
}

#[test]
fn a_replayed_flight_that_is_held_reaches_no_backend() {
    let mut rig = connected(HOLD);
    let ticket = rig.ticket().expect("a ticket");
    let mut other = rig.two_workers(HOLD);
    let (flight, _) = early_get(&mut rig, &ticket);
    // The client's own, which is served.
    let unheard = rig.without_client(flight.clone());
    rig.to_client(unheard);
    rig.settle();
    assert_eq!(rig.asked_of_backends(), 1);
    // To the same worker, which knows the connection, and to another, which does not.
    rig.without_client(flight.clone());
    std::mem::swap(&mut rig.proxy, &mut other);
    rig.without_client(flight.clone());
    give_up(&mut rig);
    let replayed = rig.records.pop().expect("a record");
    assert_eq!(replayed.reason, Some(Reason::HandshakeIncomplete));
    assert_eq!(replayed.early, Some(Early::Held));
    assert_eq!(replayed.backend, None);
    assert_eq!(
        replayed.path(),
        Some(&b"/early"[..]),
        "the log says what it was"
    );
    // To a process that was restarted, and another machine.
    for (config, seed) in [(HOLD, 9), ("secret: { env: SECRET }\ninstance: 2\n", 10)] {
        rig.restart(config, seed);
        rig.without_client(flight.clone());
        assert_eq!(
            rig.proxy.snapshot().counters.requests_early_held,
            1,
            "the ticket is good everywhere"
        );
        give_up(&mut rig);
    }
    assert_eq!(rig.asked_of_backends(), 1);
    assert_eq!(rig.proxy.snapshot().exchanges, 0);
}

#[test]
fn a_replayed_flight_that_is_forwarded_reaches_a_backend_once() {
    let mut rig = connected(FORWARD);
    let mut other = rig.two_workers(FORWARD);
    let ticket = ticket_from_anew(&mut rig);
    rig.skip(OLD);
    other.handle_timeout(rig.now());
    let (flight, _) = early_get(&mut rig, &ticket);
    rig.without_client(flight.clone());
    assert_eq!(rig.asked_of_backends(), 1);
    // To the other worker.
    std::mem::swap(&mut rig.proxy, &mut other);
    rig.without_client(flight.clone());
    assert_eq!(rig.proxy.snapshot().counters.early_flights_copied, 1);
    assert_eq!(rig.asked_of_backends(), 1);
    // To the same worker, when the connection is long over.
    std::mem::swap(&mut rig.proxy, &mut other);
    give_up(&mut rig);
    rig.without_client(flight.clone());
    assert_eq!(rig.proxy.snapshot().counters.early_flights_copied, 1);
    assert_eq!(rig.asked_of_backends(), 1);
    // To a process that was restarted, however old, and another machine.
    for (config, seed) in [(FORWARD, 9), (FORWARD, 1)] {
        rig.restart(config, seed);
        rig.without_client(flight.clone());
        assert_eq!(rig.asked_of_backends(), 1);
    }
    rig.restart(FORWARD, 9);
    rig.skip(OLD);
    rig.without_client(flight);
    assert_eq!(rig.asked_of_backends(), 1);
}

/// Then the copy was an attacker's, and a backend has its request already.
#[test]
fn a_flight_that_comes_after_its_copy_is_refused() {
    let mut rig = connected(FORWARD);
    rig.skip(OLD);
    let ticket = rig.ticket().expect("a ticket");
    let (flight, stream) = early_get(&mut rig, &ticket);
    rig.without_client(flight.clone());
    assert_eq!(rig.asked_of_backends(), 1, "the copy");
    // It goes to another connection: the first one is over.
    give_up(&mut rig);
    let unheard = rig.without_client(flight);
    rig.to_client(unheard);
    rig.settle();
    assert_eq!(rig.client.close_code(), Some(0x10b), "H3_REQUEST_REJECTED");
    assert_eq!(rig.client.status(stream), None);
    assert_eq!(rig.asked_of_backends(), 1);
    let told: Vec<_> = rig.records.iter().map(|r| r.reason).collect();
    let reasons = [Reason::HandshakeIncomplete, Reason::TooEarly].map(Some);
    assert_eq!(told, reasons);
}

/// Early data that was lost comes again when the handshake is complete.
#[test]
fn the_copy_of_a_flight_whose_early_data_was_lost_is_a_copy() {
    let mut rig = connected(FORWARD);
    rig.skip(OLD);
    let ticket = rig.ticket().expect("a ticket");
    let hello = rig.come_again(Some(&ticket));
    rig.get("/early");
    let lost = rig.client.datagrams();
    rig.from_address(hello.clone());
    rig.settle();
    wait_for_request(&mut rig);
    assert_eq!(rig.asked_of_backends(), 1);
    assert_eq!(rig.proxy.snapshot().counters.requests_early_forwarded, 0);
    rig.client.quic.close(true, 0x100, b"").expect("it is open");
    rig.settle();
    rig.pass(Duration::from_millis(50));
    rig.without_client([hello, lost].concat());
    assert_eq!(rig.proxy.snapshot().counters.early_flights_copied, 1);
    assert_eq!(rig.asked_of_backends(), 1);
}

/// It can't know what its predecessor with the same randomness saw.
#[test]
fn a_young_process_forwards_nothing_early() {
    let mut rig = connected(FORWARD);
    let ticket = rig.ticket().expect("a ticket");
    let (flight, stream) = early_get(&mut rig, &ticket);
    let unheard = rig.without_client(flight);
    assert_eq!(rig.asked_of_backends(), 0);
    rig.to_client(unheard);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("425"));
}

/// QUIC itself sends again what was refused as early data.
#[test]
fn tickets_of_others_bring_no_early_data_where_it_is_forwarded() {
    let mut rig = connected(FORWARD);
    let ticket = rig.ticket().expect("a ticket");
    rig.restart(FORWARD, 9);
    rig.skip(OLD);
    let (flight, stream) = early_get(&mut rig, &ticket);
    let unheard = rig.without_client(flight);
    assert_eq!(rig.asked_of_backends(), 0);
    rig.to_client(unheard);
    wait_for_request(&mut rig);
    assert!(!rig.client.quic.is_resumed());
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], true);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("200"));
    assert_eq!(only(&rig.records).early, None);
    // But those who send none resume as ever.
    let ticket = rig.ticket().expect("a ticket");
    rig.restart(FORWARD, 10);
    let first = rig.come_again_late(&ticket);
    rig.from_address(first);
    rig.settle();
    assert!(rig.client.quic.is_resumed());
}

#[test]
fn sessions_resume_wherever_the_secret_is() {
    let mut rig = connected(HOLD);
    let ticket = rig.ticket().expect("a ticket");
    // At another worker of another process.
    let other = rig.two_workers(HOLD);
    rig.proxy = other;
    assert!(resumes(&mut rig, &ticket));
    // At a machine of another name and with a new secret that knows the old one.
    let config = "secret: { env: NEWER }\nprevious_secrets: [{ env: SECRET }]\ninstance: b\n";
    rig.restart(config, 9);
    assert!(resumes(&mut rig, &ticket));
    // The ticket that came now is the new secret's.
    let newer = ticket_from_anew(&mut rig);
    rig.restart("secret: { env: NEWER }\n", 10);
    assert!(resumes(&mut rig, &newer));
    assert!(
        !resumes(&mut rig, &ticket),
        "the old one is no longer known"
    );
}

#[test]
fn without_a_secret_tickets_end_with_the_process() {
    let mut rig = connected("");
    let ticket = rig.ticket().expect("a ticket");
    assert!(resumes(&mut rig, &ticket));
    rig.restart("", 9);
    assert!(!resumes(&mut rig, &ticket));
}

#[test]
fn keys_turn_with_the_time_and_the_old_ones_stay_for_a_while() {
    let mut rig = connected(HOLD);
    let ticket = rig.ticket().expect("a ticket");
    let hours = |n: u64| Duration::from_secs(n * 3600);
    for (after, good) in [(hours(13), true), (hours(48), true), (hours(61), false)] {
        rig.restart(HOLD, 9);
        let wall = std::time::SystemTime::now() + after;
        rig.proxy.handle_clock(wall, rig.now());
        assert_eq!(resumes(&mut rig, &ticket), good, "{after:?}");
    }
}

/// RFC 9000 section 7.4.1: who accepts 0-RTT "MUST NOT reduce any limits or alter any
/// values that might be violated by the client with its 0-RTT data".
#[test]
fn a_ticket_of_larger_limits_is_worth_nothing() {
    const SMALLER: [&str; 4] = [
        "quic: { max_streams: 99 }",
        "quic: { stream_window: 255KiB }",
        "quic: { connection_window: 63MiB }",
        "limits: { header_bytes: 31KiB }",
    ];
    let mut rig = connected(HOLD);
    let ticket = rig.ticket().expect("a ticket");
    for smaller in SMALLER {
        rig.restart(&format!("{HOLD}{smaller}\n"), 9);
        assert!(!resumes(&mut rig, &ticket), "{smaller}");
        let (flight, _) = early_get(&mut rig, &ticket);
        rig.without_client(flight);
        let counters = rig.proxy.snapshot().counters;
        assert_eq!(counters.requests_early_held, 0, "{smaller}");
        assert_eq!(rig.proxy.snapshot().exchanges, 0);
    }
    rig.restart(HOLD, 9);
    assert!(resumes(&mut rig, &ticket), "as they were");
}

#[test]
fn a_client_gets_no_ticket_where_there_are_none() {
    let mut rig = connected("tls.session_tickets: off\n");
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], true);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("200"));
    assert_eq!(rig.ticket(), None);
    // Nor is one of before looked at.
    let mut rig = connected(HOLD);
    let ticket = rig.ticket().expect("a ticket");
    rig.restart("secret: { env: SECRET }\ntls.session_tickets: off\n", 9);
    assert!(!resumes(&mut rig, &ticket));
}

#[test]
fn early_data_can_be_refused() {
    const OFF: &str = "secret: { env: SECRET }\ntls.early_data: off\n";
    let mut rig = connected(HOLD);
    let ticket = rig.ticket().expect("a ticket");
    rig.restart(OFF, 9);
    let (flight, stream) = early_get(&mut rig, &ticket);
    let unheard = rig.without_client(flight);
    rig.to_client(unheard);
    wait_for_request(&mut rig);
    assert!(rig.client.quic.is_resumed());
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], true);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("200"));
    let record = only(&rig.records);
    assert_eq!((record.early, record.resumed), (None, true));
}

/// What is wrong with a request can be said before its client has proved anything.
#[test]
fn an_early_request_that_breaks_a_rule_is_refused_and_goes_nowhere() {
    let mut rig = connected(FORWARD);
    rig.skip(OLD);
    let ticket = rig.ticket().expect("a ticket");
    let mut flight = rig.come_again(Some(&ticket));
    let stream = rig.request("GET", "/early", &[("content-length", "x")], true);
    flight.extend(rig.client.datagrams());
    let unheard = rig.without_client(flight);
    rig.to_client(unheard);
    assert_eq!(rig.client.status(stream).as_deref(), Some("400"));
    rig.settle();
    assert_eq!(rig.asked_of_backends(), 0);
}

/// Its time runs while it waits.
#[test]
fn an_early_request_that_waits_too_long_is_told_so_and_not_sent_later() {
    let mut rig = connected("secret: { env: SECRET }\ntimeouts: { request: 1s }\n");
    let ticket = rig.ticket().expect("a ticket");
    let (flight, stream) = early_get(&mut rig, &ticket);
    let mut unheard = rig.without_client(flight);
    rig.skip_without_client(Duration::from_secs(2));
    unheard.extend(rig.without_client(Vec::new()));
    let record = only(&rig.records);
    assert_eq!(record.reason, Some(Reason::RequestTimeout));
    assert_eq!(record.early, Some(Early::Held));
    rig.to_client(unheard);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("504"));
    assert_eq!(rig.asked_of_backends(), 0);
}

fn connected(config: &'static str) -> Rig {
    Rig::new(Options {
        config,
        ..Options::default()
    })
}

/// A client's whole first flight with a request in it.
fn early_get(rig: &mut Rig, ticket: &[u8]) -> (Vec<Vec<u8>>, u64) {
    let mut flight = rig.come_again(Some(ticket));
    assert!(rig.client.quic.is_in_early_data(), "the ticket allows it");
    let stream = rig.get("/early");
    flight.extend(rig.client.datagrams());
    (flight, stream)
}

/// A new client connects, and gets a ticket.
fn ticket_from_anew(rig: &mut Rig) -> Vec<u8> {
    let first = rig.come_again(None);
    rig.from_address(first);
    rig.settle();
    rig.ticket().expect("a ticket")
}

/// quiche's client takes refused early data for lost, which takes it a moment.
fn wait_for_request(rig: &mut Rig) {
    for _ in 0..200 {
        rig.pass(Duration::from_millis(10));
        if rig.asked_of_backends() > 0 {
            return;
        }
    }
    panic!("the request never came");
}

fn resumes(rig: &mut Rig, ticket: &[u8]) -> bool {
    let first = rig.come_again(Some(ticket));
    rig.from_address(first);
    rig.settle();
    assert!(rig.client.quic.is_established());
    rig.client.quic.is_resumed()
}

/// Whoever has not completed a handshake by now never will.
fn give_up(rig: &mut Rig) {
    for _ in 0..2 {
        rig.skip_without_client(Duration::from_secs(11));
        rig.without_client(Vec::new());
    }
    rig.pass(Duration::from_millis(1));
}

fn answer_with(rig: &mut Rig, stream: u64, status: &str) {
    let fields = [h3::Header::new(b":status", status.as_bytes())];
    let (h3, quic) = rig.connections[0].1.http();
    h3.send_response(quic, stream, &fields, true)
        .expect("the backend may answer");
}

fn field_at_backend(rig: &Rig, connection: usize, name: &str) -> Option<String> {
    fields_at_backend(rig, connection, name).pop()
}

/// All fields of a name in the newest head there.
fn fields_at_backend(rig: &Rig, connection: usize, name: &str) -> Vec<String> {
    use quiche::h3::NameValue;
    let events = rig.connections[connection].1.events.iter().rev();
    let mut heads = events.filter_map(|(_, event)| {
        let h3::Event::Headers { list, .. } = event else {
            return None;
        };
        Some(list)
    });
    let head = heads.next().expect("a request came");
    let fields = head.iter().filter(|f| f.name() == name.as_bytes());
    fields
        .map(|f| String::from_utf8_lossy(f.value()).into_owned())
        .collect()
}

fn only(records: &[Record]) -> &Record {
    assert_eq!(records.len(), 1, "{records:?}");
    &records[0]
}
