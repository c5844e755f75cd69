//! A backend that says GOAWAY: what it did not process goes elsewhere, what it
//! did ends whole.

use spooky_core::observe::Outcome;
use spooky_tests::{Stack, ask_all, secs, wait_until};

#[test]
fn requests_a_leaving_backend_did_not_process_go_to_another_and_the_others_end_whole() {
    // The first gets everything, as long as it is there.
    let stack = Stack::new().backends(2).weights(&[1_000_000, 1]).start();
    let mut client = stack.client();
    let paths = ["/slow/500", "/goaway"]
        .into_iter()
        .chain(std::iter::repeat_n("/", 10));
    let answers = ask_all(
        &mut client,
        paths.map(|path| stack.get(path)).collect(),
        secs(10),
    );
    for (n, answer) in answers.iter().enumerate() {
        let backend = if n < 2 { "web1" } else { "web2" };
        assert_eq!(
            (answer.status(), answer.backend()),
            (200, backend),
            "request {n}"
        );
    }
    assert_eq!(stack.backend(0).counts().requests, 2);
    assert_eq!(stack.backend(1).counts().requests, 10);
    let records = stack.records(12);
    assert!(
        records
            .iter()
            .all(|record| record.outcome == Outcome::Complete)
    );
    assert_eq!(
        records.iter().filter(|record| record.attempts == 2).count(),
        10
    );
    // The next requests take another connection to the first.
    let next = stack.ask(&mut client, "/");
    assert_eq!((next.status(), next.backend()), (200, "web1"));
    assert_eq!(stack.backend(0).counts().connections, 2);
    // And the connection that was left is closed.
    wait_until("it is closed", secs(3), || {
        stack.snapshot().backends[0].connections == 1
    });
}

#[test]
fn requests_the_only_backend_did_not_process_take_a_new_connection_to_it() {
    let stack = Stack::new().start();
    let mut client = stack.client();
    let paths = ["/goaway"].into_iter().chain(std::iter::repeat_n("/", 10));
    let answers = ask_all(
        &mut client,
        paths.map(|path| stack.get(path)).collect(),
        secs(10),
    );
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status(), 200, "request {n}: {answer:?}");
    }
    assert_eq!(stack.backend(0).counts().connections, 2);
    stack.records(11);
}
