//! Which keys may stand where.

use super::super::schema::SECTIONS;
use super::{accepted, faults, refused};

#[test]
fn an_unknown_key_is_placed_and_the_nearest_is_suggested() {
    let text = "\
listen: { adress: 0.0.0.0, port: 443 }
tls: { Cert: a.pem, key: a.key }
backends:
  - { id: web1, address: 192.168.1.10:443, wieght: 4 }
drain-timeout: 5s
";
    assert_eq!(
        faults(text),
        [
            "1:1: listen.address: the required key 'address' is missing",
            "1:11: listen.adress: unknown key 'adress'; did you mean 'address'?",
            "2:1: tls.cert: the required key 'cert' is missing",
            "2:8: tls.Cert: unknown key 'Cert'; did you mean 'cert'?",
            "4:44: backends[0].wieght: unknown key 'wieght'; did you mean 'weight'?",
            "5:1: drain-timeout: unknown key 'drain-timeout'; did you mean 'drain_timeout'?",
        ]
    );
}

#[test]
fn a_key_like_no_other_gets_the_list_of_those_there_are() {
    assert_eq!(
        refused("timeouts: { patience: 1s }\n"),
        ["5:13: timeouts.patience: unknown key 'patience'; \
             the keys here are connect, response_header, idle, request"]
    );
}

#[test]
fn a_key_of_another_section_is_sent_there() {
    assert_eq!(
        refused("header_bytes: 8KiB\nlog: { min_idle: 3 }\n"),
        [
            "5:1: header_bytes: unknown key 'header_bytes'; it belongs under 'limits'",
            "6:8: log.min_idle: unknown key 'min_idle'; it belongs under 'connections'",
        ]
    );
}

#[test]
fn a_promised_key_says_that_it_is_not_available_yet() {
    assert_eq!(
        refused("routes: []\nload_balancing: { sticky: off }\nadmin:\n"),
        [
            "5:1: routes: 'routes' is not available yet",
            "6:19: load_balancing.sticky: 'sticky' is not available yet",
            "7:1: admin: 'admin' is not available yet",
        ]
    );
    assert_eq!(
        refused("ruotes: []\n"),
        ["5:1: ruotes: unknown key 'ruotes'; 'routes' would be a key, but is not available yet"]
    );
}

#[test]
fn every_promised_key_is_refused_wherever_it_is_promised() {
    for section in SECTIONS {
        for key in section.promised {
            let (text, path) = match section.name {
                "" => (format!("{key}: 1\n"), (*key).to_owned()),
                // An item of the list that stands last in the least text.
                "backends" => (
                    format!("  - {{ id: b, address: 1.2.3.4:5, {key}: 1 }}\n"),
                    format!("backends[1].{key}"),
                ),
                // Its section stands in the least text already.
                "tls" | "listen" => unreachable!("they promise nothing"),
                name => (format!("{name}: {{ {key}: 1 }}\n"), format!("{name}.{key}")),
            };
            let faults = refused(&text);
            assert_eq!(faults.len(), 1, "{path}: {faults:?}");
            let message = format!(" {path}: '{key}' is not available yet");
            assert!(faults[0].ends_with(&message), "{faults:?}");
        }
    }
}

#[test]
fn no_key_is_both_accepted_and_promised() {
    for section in SECTIONS {
        for key in section.promised {
            assert!(!section.accepted.contains(key), "{}: {key}", section.name);
        }
    }
}

#[test]
fn a_key_with_strange_characters_stays_on_one_line() {
    assert_eq!(
        refused("\"a\\nb.c\": 1\n"),
        [
            "5:1: 'a\\nb.c': unknown key 'a\\nb.c'; the keys here are workers, secret, \
             previous_secrets, instance, listen, tls, quic, early_data, backend_tls, load_balancing, backends, connections, timeouts, forwarding, limits, \
             websocket, log, drain_timeout"
        ]
    );
    let long = refused(&format!("{}: 1\n", "k".repeat(900)));
    assert!(long[0].len() < 400, "{long:?}");
}

#[test]
fn required_keys_are_missed_where_they_should_stand() {
    assert_eq!(
        faults("workers: 2\n"),
        [
            "1:1: listen: the required key 'listen' is missing",
            "1:1: tls: the required key 'tls' is missing",
            "1:1: backends: the required key 'backends' is missing",
        ]
    );
    assert_eq!(
        faults("workers: 2\nlisten:\ntls: {}\nbackends:\n  - weight: 1\n  -\n"),
        [
            "2:1: listen.address: the required key 'address' is missing",
            "2:1: listen.port: the required key 'port' is missing",
            "3:1: tls.cert: the required key 'cert' is missing",
            "3:1: tls.key: the required key 'key' is missing",
            "5:5: backends[0].id: the required key 'id' is missing",
            "5:5: backends[0].address: the required key 'address' is missing",
            "6:4: backends[1].id: the required key 'id' is missing",
            "6:4: backends[1].address: the required key 'address' is missing",
        ]
    );
    assert_eq!(
        refused("log:\n  access:\n    format: json\n"),
        ["6:3: log.access.path: the required key 'path' is missing"]
    );
}

#[test]
fn a_section_of_the_wrong_kind_is_one_fault() {
    assert_eq!(
        faults("listen: 443\ntls: [a, b]\nbackends: { id: a }\n"),
        [
            "1:9: listen: expected keys (address, port, receive_buffer, send_buffer), found '443'",
            "2:6: tls: expected keys (cert, key, pkcs12, password, certificates, client_auth, \
             early_data, session_tickets), found a list",
            "3:11: backends: expected a list, each item beginning with '-' and having \
             id, address, weight, found a section of keys",
        ]
    );
    assert_eq!(
        refused("  - web2\nlog: { access: off }\n"),
        [
            "5:5: backends[1]: expected keys (id, address, weight), found 'web2'",
            "6:16: log.access: expected keys (path, format), found 'off'",
        ]
    );
}

#[test]
fn a_section_whose_keys_are_commented_out_is_one_of_defaults() {
    let empty = accepted("quic:\n  # max_streams: 5\nlimits: {}\nlog: ~\n");
    assert_eq!(super::meaning(&empty), super::meaning(&accepted("")));
}
