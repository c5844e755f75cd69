//! Files that the configuration names, and where keys stood.

use std::path::{Path, PathBuf};

use super::super::{Config, LogTarget, Position};
use super::{LEAST, accepted, refused};

#[test]
fn relative_paths_begin_at_the_configuration() {
    for (name, cert) in [
        ("spooky.yaml", "a.pem"),
        ("./spooky.yaml", "./a.pem"),
        ("conf/spooky.yaml", "conf/a.pem"),
        ("../spooky.yaml", "../a.pem"),
        ("/etc/spooky/spooky.yaml", "/etc/spooky/a.pem"),
    ] {
        let config = Config::parse(name, LEAST).expect("legal");
        assert_eq!(config.files()[0], Path::new(cert));
    }
    let text = LEAST.replace("a.pem", "/abs/a.pem");
    let config = Config::parse("conf/spooky.yaml", &text).expect("legal");
    assert_eq!(config.files()[0], Path::new("/abs/a.pem"));
}

#[test]
fn files_are_listed_once_each() {
    let config = accepted("backend_tls: { ca: ca.pem }\nlog: { access: { path: out.log } }\n");
    let files = ["a.pem", "a.key", "ca.pem"].map(PathBuf::from);
    assert_eq!(config.files(), files);

    let both = LEAST.replace("a.key", "a.pem");
    let config = Config::parse("spooky.yaml", &both).expect("legal");
    assert_eq!(config.files(), [PathBuf::from("a.pem")]);
}

#[test]
fn the_systems_roots_are_needed_when_nothing_else_is_trusted() {
    assert!(accepted("").needs_system_roots());
    assert!(!accepted("backend_tls: { ca: ca.pem }\n").needs_system_roots());
    assert!(!accepted("backend_tls: { verify: off }\n").needs_system_roots());
}

#[test]
fn the_access_log_goes_to_a_stream_or_a_file() {
    for (path, target) in [
        ("stdout", LogTarget::Stdout),
        ("stderr", LogTarget::Stderr),
        ("./stdout", LogTarget::File("./stdout".into())),
        ("/var/log/a.log", LogTarget::File("/var/log/a.log".into())),
    ] {
        let config = accepted(&format!("log: {{ access: {{ path: {path} }} }}\n"));
        assert_eq!(config.log.access.expect("given").path, target);
    }
}

#[test]
fn secrets_and_traces_go_to_places_found_from_the_configuration() {
    let text = format!("{LEAST}log: {{ tls_keys: keys.log, qlog: {{ dir: traces }} }}\n");
    let config = Config::parse("conf/spooky.yaml", &text).expect("legal");
    assert_eq!(
        config.log.tls_keys.as_deref(),
        Some(Path::new("conf/keys.log"))
    );
    let qlog = config.log.qlog.as_ref().expect("given");
    assert_eq!(qlog.dir, Path::new("conf/traces"));
    let again = Config::parse("conf/spooky.yaml", &config.to_yaml()).expect("legal");
    assert_eq!(again.log, config.log);
    // The driver makes them; there is nothing to read before.
    assert_eq!(
        config.files(),
        ["conf/a.pem", "conf/a.key"].map(PathBuf::from)
    );
    assert_eq!(
        refused("log: { qlog: { sample: 1 } }\n"),
        ["5:8: log.qlog.dir: the required key 'dir' is missing"]
    );
    assert_eq!(
        refused("log: { qlog: { dir: '' } }\n"),
        ["5:21: log.qlog.dir: expected the path of a folder, found ''"]
    );
}

#[test]
fn paths_that_cannot_be_are_refused() {
    let what = "5:20: backend_tls.ca: expected the path of a file, found";
    for (wrong, rest) in [
        ("''", "''".to_owned()),
        ("[a]", "a list".to_owned()),
        (
            "~/ca.pem",
            "'~/ca.pem'; '~' is not replaced by a home folder here".to_owned(),
        ),
        (
            "\"a\\nb\"",
            "'a\\nb'; a path has no line breaks or other control characters".to_owned(),
        ),
    ] {
        assert_eq!(
            refused(&format!("backend_tls: {{ ca: {wrong} }}\n")),
            [format!("{what} {rest}")]
        );
    }
}

#[test]
fn positions_are_those_of_values_and_of_section_keys() {
    let config = accepted("log:\n  access:\n    path: stdout\n");
    let at = |path: &str| {
        config
            .positions
            .exact(path)
            .map(|Position { line, column }| (line, column))
    };
    assert_eq!(at("listen"), Some((1, 1)));
    assert_eq!(at("listen.port"), Some((1, 35)));
    assert_eq!(at("tls.key"), Some((2, 26)));
    assert_eq!(at("backends"), Some((3, 1)));
    assert_eq!(at("backends[0]"), Some((4, 5)));
    assert_eq!(at("backends[0].address"), Some((4, 26)));
    assert_eq!(at("log.access"), Some((6, 3)));
    assert_eq!(at("log.access.path"), Some((7, 11)));
    assert_eq!(at("log.access.format"), None);
    assert_eq!(at("quic"), None);
}

#[test]
fn a_fault_found_later_is_placed_at_its_key_or_around_it() {
    let config = accepted("");
    assert_eq!(
        config.diagnostic("tls.cert", "no such file").to_string(),
        "spooky.yaml:2:14: tls.cert: no such file"
    );
    // Defaults stand nowhere: the nearest section does.
    assert_eq!(
        config
            .diagnostic("listen.send_buffer", "refused")
            .to_string(),
        "spooky.yaml:1:1: listen.send_buffer: refused"
    );
    assert_eq!(
        config
            .diagnostic("backends[0].weight", "too heavy")
            .to_string(),
        "spooky.yaml:4:5: backends[0].weight: too heavy"
    );
    assert_eq!(
        config.diagnostic("backend_tls.ca", "none").position,
        Some(Position { line: 1, column: 1 })
    );
}
