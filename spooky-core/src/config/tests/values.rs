//! Each kind of value: what is read, and what is said about the rest.

use std::time::Duration;

use super::super::{Config, CongestionControl, LbType, Retry, Workers};
use super::{accepted, faults, parsed, refused};

#[test]
fn workers_are_auto_or_a_number() {
    assert_eq!(accepted("").workers, Workers::Auto);
    assert_eq!(accepted("workers: auto\n").workers, Workers::Auto);
    assert_eq!(accepted("workers: 1\n").workers, Workers::Count(1));
    assert_eq!(
        accepted("workers: \"1024\"\n").workers,
        Workers::Count(1024)
    );
    for wrong in [
        "0",
        "1025",
        "-1",
        "many",
        "1.5",
        "0x10",
        "1_000",
        "99999999999999999999",
    ] {
        assert_eq!(
            refused(&format!("workers: {wrong}\n")),
            [format!(
                "5:10: workers: expected auto, or a whole number from 1 to 1024, found '{wrong}'"
            )]
        );
    }
    assert_eq!(
        refused("workers:\n"),
        [
            "5:1: workers: expected auto, or a whole number from 1 to 1024, found nothing; \
             leave the key out if the default is meant"
        ]
    );
}

#[test]
fn quoted_or_not_does_not_matter() {
    let plain = accepted(
        "workers: 3\nquic: { max_streams: 7, idle_timeout: 5s }\nbackend_tls: { verify: off }\n",
    );
    let quoted = accepted(
        "workers: '3'\nquic: { max_streams: \"7\", idle_timeout: '5s' }\nbackend_tls: { verify: 'off' }\n",
    );
    assert_eq!(super::meaning(&plain), super::meaning(&quoted));
}

#[test]
fn flags_are_on_and_off() {
    for (word, value) in [
        ("on", true),
        ("true", true),
        ("off", false),
        ("false", false),
    ] {
        let config = accepted(&format!("backend_tls: {{ verify: {word} }}\n"));
        assert_eq!(config.upstream.backend_tls.verify, value);
    }
    assert!(accepted("").websocket);
    assert!(!accepted("websocket: off\n").websocket);
    assert_eq!(
        refused("websocket: ws\n"),
        [
            "5:12: websocket: expected on or off (true and false are the same), \
             found 'ws'"
        ]
    );
    for wrong in ["yes", "1", "ON", "of"] {
        assert_eq!(
            refused(&format!("backend_tls: {{ verify: {wrong} }}\n")),
            [format!(
                "5:24: backend_tls.verify: expected on or off (true and false are the same), \
                 found '{wrong}'"
            )]
        );
    }
}

#[test]
fn durations_have_a_unit() {
    for (text, millis) in [
        ("250ms", 250),
        ("5s", 5000),
        ("2m", 120_000),
        ("1h", 3_600_000),
    ] {
        let config = accepted(&format!("timeouts: {{ connect: {text} }}\n"));
        assert_eq!(
            config.upstream.timeouts.connect,
            Duration::from_millis(millis)
        );
    }
    assert_eq!(accepted("drain_timeout: 0\n").drain_timeout, Duration::ZERO);
    for wrong in ["5", "5 s", "1.5s", "-1s", "5sec", "s", "05s", "1h30m", "5S"] {
        assert_eq!(
            refused(&format!("drain_timeout: {wrong}\n")),
            [format!(
                "5:16: drain_timeout: expected a duration such as 250ms, 5s, 2m or 1h, \
                 found '{wrong}'"
            )]
        );
    }
    for large in ["25h", "99999999999999999999s", "18446744073709551615h"] {
        assert_eq!(
            refused(&format!("drain_timeout: {large}\n")),
            [format!(
                "5:16: drain_timeout: expected a duration from 0s to 24h, found '{large}'"
            )]
        );
    }
    assert_eq!(
        refused("drain_timeout: [5s]\n"),
        ["5:16: drain_timeout: expected a duration such as 250ms, 5s, 2m or 1h, found a list"]
    );
}

#[test]
fn sizes_are_in_powers_of_1024() {
    for (text, bytes) in [("2048", 2048), ("64KiB", 65_536), ("2MiB", 2 << 20)] {
        let config = accepted(&format!(
            "quic: {{ stream_window: {text}, connection_window: 1GiB }}\n"
        ));
        assert_eq!(config.quic.stream_window, bytes);
        assert_eq!(config.quic.connection_window, 1 << 30);
    }
    for wrong in [
        "64KB", "64k", "64 KiB", "1.5MiB", "-1", "KiB", "64kib", "1TiB", "064",
    ] {
        assert_eq!(
            refused(&format!("quic: {{ stream_window: {wrong} }}\n")),
            [format!(
                "5:24: quic.stream_window: expected a size such as 64KiB, 10MiB, 1GiB \
                 or plain bytes, found '{wrong}'"
            )]
        );
    }
    for outside in ["1023", "2GiB", "99999999999999999999", "99999999999GiB"] {
        assert_eq!(
            refused(&format!("quic: {{ stream_window: {outside} }}\n")),
            [format!(
                "5:24: quic.stream_window: expected a size from 1KiB to 1GiB, found '{outside}'"
            )]
        );
    }
}

#[test]
fn the_listener_has_an_address_and_a_port() {
    let listening = |address: &str, port: &str| {
        format!(
            "listen:\n  address: {address}\n  port: {port}\ntls: {{ cert: a, key: b }}\n\
             backends: [{{ id: a, address: 1.2.3.4:5 }}]\n"
        )
    };
    let config = parsed(&listening("'::'", "0"));
    assert_eq!(config.listen.address.to_string(), "::");
    assert_eq!(config.listen.port, 0);
    // One address has one form, whatever it was written as.
    let config = parsed(&listening("'::ffff:10.0.0.1'", "65535"));
    assert_eq!(config.listen.address.to_string(), "10.0.0.1");

    let address = "2:12: listen.address: expected an IP address such as 0.0.0.0 or ::, found";
    for (wrong, rest) in [
        ("localhost", ""),
        ("0.0.0.0:443", "; the port stands in 'port'"),
        ("10.0.0.300", ""),
    ] {
        assert_eq!(
            faults(&listening(wrong, "443")),
            [format!("{address} '{wrong}'{rest}")]
        );
    }
    assert_eq!(
        faults(&listening("'[::1]'", "443")),
        [format!("{address} '[::1]'; leave out the brackets")]
    );
    assert_eq!(
        faults(&listening("", "443")),
        ["2:3: listen.address: expected an IP address such as 0.0.0.0 or ::, found nothing"]
    );
    for wrong in ["65536", "-1", "https", "0443"] {
        assert_eq!(
            faults(&listening("0.0.0.0", wrong)),
            [format!(
                "3:9: listen.port: expected a whole number from 0 to 65535, found '{wrong}'"
            )]
        );
    }
}

#[test]
fn a_backend_is_an_ip_address_and_a_port() {
    let backend = |address: &str| format!("  - id: b\n    address: '{address}'\n");
    for (text, address) in [
        ("10.0.0.1:8080", "10.0.0.1:8080"),
        ("[2001:db8:0::1]:443", "[2001:db8::1]:443"),
        ("[::ffff:10.0.0.1]:80", "10.0.0.1:80"),
    ] {
        let config = accepted(&backend(text));
        assert_eq!(config.upstream.backends[1].address.to_string(), address);
    }
    let what =
        "expected an IP address and port such as 192.168.1.10:443 or [2001:db8::1]:443, found";
    let name =
        "is a name, and backend addresses are IP and port for now: names are not resolved yet";
    for (wrong, message) in [
        ("web1.internal:8080", format!("'web1.internal' {name}")),
        ("localhost", format!("'localhost' {name}")),
        (
            "10.0.0.1",
            "'10.0.0.1' has no port; write for example 10.0.0.1:443".to_owned(),
        ),
        (
            "fd00::1",
            "'fd00::1' has no port; write for example [fd00::1]:443".to_owned(),
        ),
        (
            "https://10.0.0.1:443",
            format!("{what} 'https://10.0.0.1:443'; leave out the scheme"),
        ),
        (
            "10.0.0.1:99999",
            format!("{what} '10.0.0.1:99999'; a port is a number from 1 to 65535"),
        ),
        ("10.0.0.300:80", format!("{what} '10.0.0.300:80'")),
        ("", format!("{what} ''")),
        (
            "10.0.0.1:0",
            "'10.0.0.1:0' has port 0, to which nothing can be sent".to_owned(),
        ),
        (
            "0.0.0.0:80",
            "'0.0.0.0:80' is the address of no machine; for this one, write 127.0.0.1 or [::1]"
                .to_owned(),
        ),
        (
            "[ff02::1]:80",
            "'[ff02::1]:80' is a multicast address, and QUIC speaks with one peer".to_owned(),
        ),
    ] {
        assert_eq!(
            refused(&backend(wrong)),
            [format!("6:14: backends[1].address: {message}")]
        );
    }
}

#[test]
fn ids_are_printable_and_short() {
    let id = |id: &str| format!("  - {{ id: \"{id}\", address: 1.2.3.4:5 }}\n");
    let longest = "x".repeat(64);
    let config = accepted(&(id("#1,~") + &id(&longest)));
    assert_eq!(config.upstream.backends[1].id, "#1,~");
    assert_eq!(config.upstream.backends[2].id, longest);
    for (wrong, found) in [
        ("", String::new()),
        ("a b", "a b".to_owned()),
        ("wéb", "wéb".to_owned()),
        ("a\\tb", "a\\tb".to_owned()),
        (&"x".repeat(65), "x".repeat(60) + "..."),
    ] {
        assert_eq!(
            refused(&id(wrong)),
            [format!(
                "5:11: backends[1].id: expected an id of 1 to 64 printable ASCII characters \
                 without spaces, found '{found}'"
            )]
        );
    }
}

#[test]
fn server_names_are_host_names() {
    let named = |name: &str| format!("backend_tls: {{ server_name: '{name}' }}\n");
    let config = accepted(&named("api-1.my_team.internal"));
    let name = config.upstream.backend_tls.server_name;
    assert_eq!(name.as_deref(), Some("api-1.my_team.internal"));
    let long = format!("{}.de", "abcdefghi.".repeat(26));
    let shown = format!("{}...", &long[..60]);
    for (wrong, found, reason) in [
        (
            "10.0.0.1",
            "10.0.0.1",
            "; without server_name, certificates are checked against the backend's address",
        ),
        (
            "bücher.de",
            "bücher.de",
            ": write it in its ASCII form (xn--...)",
        ),
        ("a.b.", "a.b.", ": leave out the dot at its end"),
        (
            "a..b",
            "a..b",
            ": between its dots stand 1 to 63 characters",
        ),
        ("", "", ": between its dots stand 1 to 63 characters"),
        ("*.a.b", "*.a.b", ": it has letters, digits, '-' and dots"),
        ("a.-b", "a.-b", ": no part begins or ends with '-'"),
        (&long, &shown, ": a name has at most 253 characters"),
    ] {
        assert_eq!(
            refused(&named(wrong)),
            [format!(
                "5:29: backend_tls.server_name: expected a host name such as api.internal, \
                 found '{found}'{reason}"
            )]
        );
    }
}

#[test]
fn policies_that_are_promised_say_so() {
    let policy = |policy: &str| format!("load_balancing:\n  lb_type: {policy}\n");
    let config = accepted(&policy("random"));
    assert_eq!(config.upstream.load_balancing.lb_type, LbType::Random);
    for promised in super::super::schema::PROMISED_POLICIES {
        assert_eq!(
            refused(&policy(promised)),
            [format!(
                "6:12: load_balancing.lb_type: '{promised}' is not available yet; use random"
            )]
        );
    }
    let what = "6:12: load_balancing.lb_type: expected 'random', found";
    assert_eq!(
        refused(&policy("radnom")),
        [format!("{what} 'radnom'; did you mean 'random'?")]
    );
    assert_eq!(refused(&policy("fastest")), [format!("{what} 'fastest'")]);
}

#[test]
fn retry_is_a_word() {
    for (word, value) in [
        ("auto", Retry::Auto),
        ("always", Retry::Always),
        ("never", Retry::Never),
    ] {
        let config = accepted(&format!("quic: {{ retry: {word} }}\n"));
        assert_eq!(config.quic.retry, value);
        assert!(config.to_yaml().contains(&format!("  retry: {word}\n")));
    }
    let what = "5:16: quic.retry: expected one of auto, always, never, found";
    assert_eq!(
        refused("quic: { retry: awlays }\n"),
        [format!("{what} 'awlays'; did you mean 'always'?")]
    );
    assert_eq!(refused("quic: { retry: on }\n"), [format!("{what} 'on'")]);
}

#[test]
fn log_levels_and_formats_are_words() {
    for level in ["off", "error", "warn", "info", "debug", "trace"] {
        let config = accepted(&format!("log: {{ level: {level} }}\n"));
        assert_eq!(config.log.level.as_str().to_lowercase(), level);
    }
    let what = "5:15: log.level: expected one of off, error, warn, info, debug, trace, found";
    assert_eq!(
        refused("log: { level: warning }\n"),
        [format!("{what} 'warning'")]
    );
    assert_eq!(
        refused("log: { level: INFO }\n"),
        [format!("{what} 'INFO'; did you mean 'info'?")]
    );
    assert_eq!(
        refused("log: { access: { path: stdout, format: combined } }\n"),
        ["5:40: log.access.format: 'combined' is not available yet; use json"]
    );
}

#[test]
fn ipv6_addresses_that_yaml_takes_apart_are_to_be_quoted() {
    let hint = "(an IPv6 address has to stand in quotes here)";
    assert_eq!(
        faults("listen:\n  address: ::\n  port: 1\n"),
        [format!(
            "2:13: not valid YAML: mapping values are not allowed in this context {hint}"
        )]
    );
    assert_eq!(
        refused("  - id: b\n    address: [::1]:80\n"),
        [format!(
            "6:19: not valid YAML: while parsing a block mapping, did not find expected key {hint}"
        )]
    );
    assert_eq!(
        faults(
            "listen: { address: [::1], port: 1 }\ntls: { cert: a, key: b }\n\
             backends: [{ id: a, address: [::1] }]\n"
        ),
        [
            "1:20: listen.address: expected an IP address such as 0.0.0.0 or ::, found a list; \
             leave out the brackets",
            "3:30: backends[0].address: expected an IP address and port such as \
             192.168.1.10:443 or [2001:db8::1]:443, found a list; \
             what begins with a bracket has to stand in quotes",
        ]
    );
}

#[test]
fn a_share_of_connections_is_a_decimal_number_above_none() {
    for (text, per_million) in [
        ("1", 1_000_000),
        ("1.0", 1_000_000),
        ("0.001", 1000),
        ("'0.25'", 250_000),
        ("0.000001", 1),
        ("1e-6", 1),
        ("0.3333333", 333_333),
    ] {
        let config = accepted(&format!("log: {{ qlog: {{ dir: q, sample: {text} }} }}\n"));
        let sample = config.log.qlog.as_ref().expect("given").sample;
        assert_eq!(sample.per_million(), per_million, "{text}");
        let again = Config::parse("spooky.yaml", &config.to_yaml()).expect("legal");
        assert_eq!(again.log, config.log, "{text}");
    }
    let default = accepted("log: { qlog: { dir: q } }\n");
    assert_eq!(default.log.qlog.expect("given").sample.per_million(), 1000);
    for wrong in ["0", "1.1", "-0.5", "0.0000004", "1%", "nan", "inf", "often"] {
        let found = refused(&format!("log: {{ qlog: {{ dir: q, sample: {wrong} }} }}\n"));
        let what =
            "expected a share from 0.000001 to 1, such as 0.001 for one connection of a thousand";
        assert_eq!(
            found,
            [format!("5:32: log.qlog.sample: {what}, found '{wrong}'")]
        );
    }
}

#[test]
fn paths_and_congestion_are_set_in_words_and_bytes() {
    let text = "quic:\n  congestion_control: bbr2\n  active_migration: off\n  \
                path_mtu_discovery: off\n  max_datagram_size: 1472\n";
    let quic = accepted(text).quic;
    assert_eq!(quic.congestion_control, CongestionControl::Bbr2);
    assert!(!quic.active_migration && !quic.path_mtu_discovery);
    assert_eq!(quic.max_datagram_size, 1472);
    let reno = accepted("quic: { congestion_control: reno }\n").quic;
    assert_eq!(reno.congestion_control, CongestionControl::Reno);
    assert_eq!(
        refused("quic: { congestion_control: bbr }\n"),
        [
            "5:29: quic.congestion_control: expected one of cubic, bbr2, reno, found 'bbr'; \
             did you mean 'bbr2'?"
        ]
    );
    for outside in ["1199", "1473"] {
        assert_eq!(
            refused(&format!("quic: {{ max_datagram_size: {outside} }}\n")),
            [format!(
                "5:28: quic.max_datagram_size: expected a whole number from 1200 to 1472, \
                 found '{outside}'"
            )]
        );
    }
}
