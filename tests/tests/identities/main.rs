//! Who Spooky is to a client, and who the client has to be.

mod door;
mod resuming;

use std::time::SystemTime;

use door::{Door, Visit, Visitor};
use spooky_mio::demo::identity::{Authority, Identity};

/// Alerts of RFC 8446 section 6.2.
const UNKNOWN_CA: u64 = 48;
const CERTIFICATE_REQUIRED: u64 = 116;
const CERTIFICATE_EXPIRED: u64 = 45;

const LIST: &str = "{ cert: a.pem, key: a.key, certificates: \
                    [{ cert: b.pem, key: b.key }, { cert: c.pem, key: c.key }] }";

#[test]
fn a_client_meets_the_certificate_of_the_name_it_asks_for() {
    let ours = authority();
    let [a, b, c] = [
        &["first.test", "special.other.test"][..],
        &["b.test", "*.b.test", "*.other.test"],
        &["c.test", "www.b.test"],
    ]
    .map(|names| issue(&ours, names));
    let mut door = Door::new(LIST, &[("a", &a), ("b", &b), ("c", &c)]);
    for (name, met) in [
        (Some("first.test"), "first.test"),
        (Some("b.test"), "b.test"),
        (Some("C.TEST"), "c.test"),
        (Some("any.b.test"), "b.test"),
        (Some("WWW.B.test"), "c.test"),
        (Some("any.other.test"), "b.test"),
        (Some("special.other.test"), "first.test"),
        (Some("deep.any.b.test"), "first.test"),
        (Some("unknown.test"), "first.test"),
        (None, "first.test"),
    ] {
        let visit = door.visit(&Visitor {
            name,
            ..Visitor::default()
        });
        assert!(visit.is_in(), "{name:?}");
        assert_eq!(visit.met(), met, "{name:?}");
    }
}

#[test]
fn a_client_that_must_show_a_certificate_shows_a_good_one_or_goes() {
    let (ours, theirs) = (authority(), authority());
    let server = issue(&ours, &["a.test"]);
    let good = issue(&ours, &["client.test"]);
    let wrong = issue(&theirs, &["client.test"]);
    let clients = roots(&ours);
    for (mode, without) in [
        ("none", None),
        ("request", None),
        ("require", Some(CERTIFICATE_REQUIRED)),
    ] {
        let tls = format!(
            "{{ cert: a.pem, key: a.key, client_auth: {{ mode: {mode}, ca: clients.pem }} }}"
        );
        let mut door = Door::new(&tls, &[("a", &server), ("clients", &clients)]);
        let mut come = |identity: Option<&Identity>| {
            door.visit(&Visitor {
                name: Some("a.test"),
                identity,
                ..Visitor::default()
            })
        };
        let outcome = |visit: &Visit| (visit.is_in(), visit.alert());
        let asked = mode != "none";
        assert_eq!(outcome(&come(Some(&good))), (true, None), "{mode}");
        let without = (without.is_none(), without);
        assert_eq!(outcome(&come(None)), without, "{mode}");
        let wrong = outcome(&come(Some(&wrong)));
        assert_eq!(wrong, (!asked, asked.then_some(UNKNOWN_CA)), "{mode}");
    }
}

#[test]
fn clients_of_every_name_have_to_show_a_certificate() {
    let ours = authority();
    let [a, b, c] = ["a.test", "b.test", "c.test"].map(|name| issue(&ours, &[name]));
    let clients = roots(&ours);
    let tls = LIST.replace(
        "key: a.key,",
        "key: a.key, client_auth: { mode: require, ca: clients.pem },",
    );
    let mut door = Door::new(
        &tls,
        &[("a", &a), ("b", &b), ("c", &c), ("clients", &clients)],
    );
    for name in ["a.test", "b.test", "c.test", "d.test"] {
        let mut visitor = Visitor {
            name: Some(name),
            ..Visitor::default()
        };
        let refused = door.visit(&visitor);
        assert_eq!(refused.alert(), Some(CERTIFICATE_REQUIRED), "{name}");
        visitor.identity = Some(&a);
        assert!(door.visit(&visitor).is_in(), "{name}");
    }
}

/// With the hybrid of X25519 and ML-KEM, which takes 1216 bytes, a ClientHello does not
/// fit one datagram.
#[test]
fn a_client_hello_of_two_datagrams_is_heard_in_any_order() {
    let server = issue(&authority(), &["a.test"]);
    let mut door = Door::new("{ cert: a.pem, key: a.key }", &[("a", &server)]);
    let visitor = Visitor {
        name: Some("a.test"),
        ..Visitor::default()
    };
    for order in [&[0, 1][..], &[1, 0], &[0, 0, 1], &[1, 1, 0, 1]] {
        let mut visit = door.approach(&visitor);
        let hello = visit.says();
        assert_eq!(hello.len(), 2, "it takes two");
        let said = order.iter().map(|&index| hello[index].clone());
        door.hear(&visit, said.collect());
        door.settle(&mut visit);
        assert!(visit.is_in(), "{order:?}");
        assert_eq!(visit.curve(), Some("X25519MLKEM768"), "{order:?}");
    }
}

/// Retry makes the client say it again, in two datagrams with a token.
#[test]
fn a_client_hello_of_two_datagrams_is_heard_after_a_retry() {
    let server = issue(&authority(), &["a.test"]);
    let (tls, retry) = ("{ cert: a.pem, key: a.key }", "quic: { retry: always }\n");
    let mut door = Door::with(tls, retry, &[("a", &server)], SystemTime::now());
    for order in [[0, 1], [1, 0]] {
        let mut visit = door.approach(&Visitor {
            name: Some("a.test"),
            ..Visitor::default()
        });
        for _ in 0..2 {
            let hello = visit.says();
            assert_eq!(hello.len(), 2, "it takes two");
            door.hear(&visit, order.map(|index| hello[index].clone()).into());
            door.answer(&mut visit);
        }
        door.settle(&mut visit);
        assert!(visit.is_in(), "{order:?}");
        assert_eq!(visit.curve(), Some("X25519MLKEM768"), "{order:?}");
    }
}

/// One half comes, and an acknowledgement goes back before the other does.
#[test]
fn the_halves_of_a_client_hello_may_come_apart() {
    let server = issue(&authority(), &["a.test"]);
    let mut door = Door::new("{ cert: a.pem, key: a.key }", &[("a", &server)]);
    for first in [0, 1] {
        let mut visit = door.approach(&Visitor {
            name: Some("a.test"),
            ..Visitor::default()
        });
        let hello = visit.says();
        door.hear(&visit, vec![hello[first].clone()]);
        door.answer(&mut visit);
        assert!(!visit.quic.is_established());
        door.hear(&visit, vec![hello[1 - first].clone()]);
        door.settle(&mut visit);
        assert!(visit.is_in(), "{first} first");
    }
}

fn authority() -> Authority {
    Authority::new("identities").expect("an authority")
}

fn issue(authority: &Authority, names: &[&str]) -> Identity {
    authority.issue(names).expect("an identity")
}

/// Roots, in the place of a certificate.
fn roots(authority: &Authority) -> Identity {
    Identity {
        cert: authority.pem().to_owned(),
        key: String::new(),
    }
}
