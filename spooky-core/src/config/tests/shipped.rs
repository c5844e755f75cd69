//! The configurations a person can start from, and what is printed of them.

use super::super::schema::{PROMISED_FORMATS, PROMISED_POLICIES, SECTIONS};
use super::super::{Config, LogTarget, Workers};
use super::meaning;

pub(super) const FULL: &str = include_str!("../../../../config/full.yaml");

/// Each with the name it is loaded under.
const SHIPPED: [(&str, &str); 5] = [
    (
        "config/minimal.yaml",
        include_str!("../../../../config/minimal.yaml"),
    ),
    ("config/full.yaml", FULL),
    (
        "config/weighted.yaml",
        include_str!("../../../../config/weighted.yaml"),
    ),
    (
        "config/edge.yaml",
        include_str!("../../../../config/edge.yaml"),
    ),
    (
        "config/trial.yaml",
        include_str!("../../../../config/trial.yaml"),
    ),
];

#[test]
fn every_shipped_configuration_is_legal() {
    for (name, text) in SHIPPED {
        load(name, text);
    }
}

#[test]
fn the_minimal_one_is_all_defaults() {
    let minimal = load(SHIPPED[0].0, SHIPPED[0].1);
    assert_eq!(minimal.workers, Workers::Auto);
    assert_eq!(
        minimal.upstream.backends[0].address.to_string(),
        "192.168.1.10:8080"
    );
    assert!(minimal.needs_system_roots());
}

#[test]
fn the_full_one_shows_every_key() {
    let full = load("config/full.yaml", FULL);
    for section in SECTIONS {
        for key in section.accepted {
            let path = match section.name {
                "" => (*key).to_owned(),
                "backends" => format!("backends[0].{key}"),
                "tls.certificates" => match *key {
                    "cert" | "key" => format!("tls.certificates[0].{key}"),
                    bundled => format!("tls.certificates[1].{bundled}"),
                },
                // Instead of `cert` and `key`, so it can't stand beside them.
                "tls" if matches!(*key, "pkcs12" | "password") => {
                    format!("tls.certificates[1].{key}")
                }
                name => format!("{name}.{key}"),
            };
            assert!(full.positions.exact(&path).is_some(), "{path}");
        }
    }
}

#[test]
fn the_full_one_shows_the_defaults() {
    // Without its examples, it says what the least text says.
    let examples = |line: &&str| !line.contains("# example") && !line.contains("one object a line");
    let lines: Vec<_> = FULL
        .lines()
        .filter(examples)
        .filter(|line| !line.trim_start().starts_with("path: stdout"))
        .collect();
    let full = load("full.yaml", &lines.join("\n"));
    let least = "listen: { address: 0.0.0.0, port: 443 }\n\
                 tls: { cert: server.pem, key: server.key }\n\
                 backends: [{ id: web1, address: 192.168.1.10:8080 }]\n";
    assert_eq!(meaning(&full), meaning(&load("full.yaml", least)));
}

#[test]
fn what_is_printed_means_the_same() {
    for (name, text) in SHIPPED {
        let config = load(name, text);
        let printed = config.to_yaml();
        let again = load(name, &printed);
        assert_eq!(meaning(&config), meaning(&again), "{printed}");
        assert_eq!(printed, again.to_yaml());
    }
}

#[test]
fn units_are_printed_as_people_write_them() {
    let printed = load("config/full.yaml", FULL).to_yaml();
    for line in [
        "workers: auto",
        "  receive_buffer: 4MiB",
        "  cert: server.pem",
        "  idle_timeout: 30s",
        "  stream_window: 256KiB",
        "  lb_type: random",
        "- id: web1",
        "  queue_timeout: 1s",
        "    path: stdout",
        "drain_timeout: 30s",
    ] {
        assert!(
            printed.lines().any(|printed| printed == line),
            "{line}\n{printed}"
        );
    }
}

#[test]
fn texts_that_look_like_something_else_survive_printing() {
    let text = "\
listen: { address: '::', port: 1 }
tls: { cert: '123', key: 'null' }
backend_tls: { ca: '../x: y #z', server_name: 'true' }
backends: [{ id: '0x1F', address: '[::1]:1' }, { id: '~', address: '1.2.3.4:5' }, { id: '&a', address: '1.2.3.4:5' }]
log: { level: off, access: { path: ./stderr } }
";
    for name in [
        "spooky.yaml",
        "./spooky.yaml",
        "a/b/spooky.yaml",
        "/etc/spooky.yaml",
        "../s.yaml",
    ] {
        let config = load(name, text);
        let again = load(name, &config.to_yaml());
        assert!(matches!(
            again.log.access.as_ref().map(|access| &access.path),
            Some(LogTarget::File(_))
        ));
        assert_eq!(config.files(), again.files());
        assert_eq!(config.to_yaml(), again.to_yaml());
        assert_eq!(config.upstream.backends, again.upstream.backends);
    }
}

/// The operator's page has a row for every key and names every promise.
#[test]
fn the_documentation_names_every_key() {
    let page = include_str!("../../../../docs/configuration.md");
    let (today, later) = page
        .split_once("## Not available yet")
        .expect("the page has both parts");
    for section in SECTIONS {
        for key in section.accepted {
            let named = [
                format!("| `{key}` |"),
                format!("### `{key}`"),
                format!("| `access.{key}` |"),
                format!("| `qlog.{key}` |"),
            ];
            assert!(named.iter().any(|name| today.contains(name)), "{key}");
        }
        for key in section.promised {
            assert!(later.contains(&format!("`{key}`")), "{key}");
        }
        // What works does not stand among what does not.
        let name = match section.name {
            "" => "at the top".to_owned(),
            name => format!("`{name}`"),
        };
        let row = later
            .lines()
            .find_map(|l| l.strip_prefix(&format!("| {name} |")));
        for key in section.accepted.iter().filter(|key| **key != "address") {
            let named = row.is_some_and(|row| row.contains(&format!("`{key}`")));
            assert!(!named, "{}.{key}", section.name);
        }
    }
    for value in PROMISED_POLICIES.iter().chain(&PROMISED_FORMATS) {
        assert!(later.contains(&format!("`{value}`")), "{value}");
    }
}

#[test]
fn the_documentations_example_is_the_minimal_configuration() {
    let page = include_str!("../../../../docs/configuration.md");
    let example = page
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("the page has an example");
    let minimal = load(SHIPPED[0].0, SHIPPED[0].1);
    assert_eq!(meaning(&load(SHIPPED[0].0, example)), meaning(&minimal));
}

fn load(name: &str, text: &str) -> Config {
    Config::parse(name, text).unwrap_or_else(|faults| {
        let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
        panic!("{}\n{text}", lines.join("\n"))
    })
}
