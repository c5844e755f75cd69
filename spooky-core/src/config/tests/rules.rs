//! Ranges, and what has to fit together.

use std::time::Duration;

use super::super::{
    CongestionControl, Connections, EarlyData, Forwarding, Instance, Limits, Quic, Retry,
    SecretSource, Timeouts, XForwarded,
};
use super::{accepted, faults, refused};

#[test]
fn what_is_left_out_has_the_documented_default() {
    let config = accepted("");
    assert_eq!(config.listen.receive_buffer, 4 << 20);
    assert_eq!(config.listen.send_buffer, 4 << 20);
    assert_eq!((&config.secret, &config.previous_secrets), (&None, &vec![]));
    assert_eq!(config.instance, Instance::Auto);
    assert!(config.tls.early_data && config.tls.session_tickets);
    assert_eq!(
        config.quic,
        Quic {
            idle_timeout: Duration::from_secs(30),
            retry: Retry::Auto,
            retry_threshold: 1000,
            max_streams: 100,
            stream_window: 256 << 10,
            connection_window: 400 << 20,
            congestion_control: CongestionControl::Cubic,
            active_migration: true,
            path_mtu_discovery: true,
            max_datagram_size: 1350,
        }
    );
    let upstream = &config.upstream;
    assert_eq!(upstream.name, "default");
    assert_eq!(upstream.early_data, EarlyData::Hold);
    assert_eq!(upstream.backends[0].weight, 100);
    assert!(upstream.backend_tls.verify);
    assert_eq!(
        upstream.connections,
        Connections {
            max: 64,
            max_requests: 1024,
            max_pending: 1024,
            queue_timeout: Duration::from_secs(1),
            min_idle: 0,
            idle_timeout: Duration::from_secs(60),
        }
    );
    assert_eq!(
        upstream.timeouts,
        Timeouts {
            connect: Duration::from_secs(5),
            response_header: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            request: Duration::ZERO,
        }
    );
    assert_eq!(
        config.limits,
        Limits {
            connections: 100_000,
            connections_per_ip: 0,
            new_connections_per_second: 0,
            new_connections_per_ip_per_second: 0,
            requests_per_connection: 0,
            handshake_timeout: Duration::from_secs(10),
            request_header_timeout: Duration::from_secs(10),
            header_bytes: 32 << 10,
            headers: 100,
            body_bytes: 0,
            resets_per_connection: 1000,
        }
    );
    assert_eq!(
        config.forwarding,
        Forwarding {
            trusted_proxies: Vec::new(),
            x_forwarded: XForwarded::Replace,
            forwarded: false,
            via: Some("spooky".to_owned()),
            proxy_status: true,
            client_cert: false,
        }
    );
    assert_eq!(config.log.level, log::LevelFilter::Info);
    assert_eq!(config.log.access, None);
    assert_eq!(config.drain_timeout, Duration::from_secs(30));
}

#[test]
fn quic_governs_both_sides() {
    let config = accepted("quic: { max_streams: 7, idle_timeout: 9s }\n");
    assert_eq!(config.quic.max_streams, 7);
    assert_eq!(config.upstream.quic, config.quic);
}

#[test]
fn the_connection_window_exceeds_what_stalled_streams_can_hold() {
    let reason = "and must be more than 2 × max_streams × stream_window =";
    let freeze = "with less, streams that stall freeze the others";
    // 2 × 100 × 256 KiB = 50 MiB exactly is too little, one byte more is enough.
    assert_eq!(
        refused("quic:\n  connection_window: 50MiB\n"),
        [format!(
            "6:22: quic.connection_window: connection_window is 50MiB, {reason} 50MiB, \
             so at least 52428801 bytes: {freeze}"
        )]
    );
    let config = accepted("quic: { connection_window: 52428801 }\n");
    assert_eq!(config.quic.connection_window, (50 << 20) + 1);
    // The key that was written is to blame, not the default beside it.
    assert_eq!(
        refused("quic:\n  max_streams: 1000\n"),
        [format!(
            "6:16: quic.max_streams: connection_window is 400MiB, {reason} 500MiB, \
             so at least 524288001 bytes: {freeze}"
        )]
    );
    assert_eq!(
        refused("quic:\n  stream_window: 4MiB\n"),
        [format!(
            "6:18: quic.stream_window: connection_window is 400MiB, {reason} 800MiB, \
             so at least 838860801 bytes: {freeze}"
        )]
    );
    // A stream that is read fast may hold its share of half the window, and no more.
    let grown = |text: &str| accepted(text).quic.grown_stream_window();
    assert_eq!(grown(""), (2 << 20) - 1);
    assert_eq!(grown("quic: { connection_window: 52428801 }\n"), 256 << 10);
    assert_eq!(grown("quic: { max_streams: 1 }\n"), 16 << 20);
    // The largest of each can be had together.
    accepted("quic: { max_streams: 10000, stream_window: 1GiB, connection_window: 32768GiB }\n");
    // A value that could not be read blames no other.
    assert_eq!(
        refused("quic: { max_streams: 0, connection_window: 1MiB }\n"),
        ["5:22: quic.max_streams: expected a whole number from 1 to 10000, found '0'"]
    );
}

#[test]
fn ranges_end_where_they_say() {
    // Section, key, the ends of the range, what lies just outside, what is said.
    let ranges = "\
        quic          idle_timeout     1s   10m      999ms  601s     a duration from 1s to 10m
        quic          max_streams      1    100      0      10001    a whole number from 1 to 10000
        quic          retry_threshold  1    10000    0      10001    a whole number from 1 to 10000
        connections   max              1    65536    0      65537    a whole number from 1 to 65536
        connections   max_requests     1    1000000  0      1000001  a whole number from 1 to 1000000
        connections   max_pending      0    1000000  -1     1000001  a whole number from 0 to 1000000
        connections   min_idle         0    64       -1     65537    a whole number from 0 to 65536
        connections   queue_timeout    1ms  24h      0      25h      a duration from 1ms to 24h
        connections   idle_timeout     1ms  24h      0s     1441m    a duration from 1ms to 24h
        timeouts      connect          1ms  24h      0      25h      a duration from 1ms to 24h
        timeouts      response_header  1ms  24h      0      25h      a duration from 1ms to 24h
        limits        request_header_timeout 1ms 24h 0      25h      a duration from 1ms to 24h
        timeouts      idle             1ms  24h      0s     25h      a duration from 1ms to 24h
        timeouts      request          0s   24h      1441m  25h      a duration from 0s to 24h
        limits        connections      1    10000000 0     10000001 a whole number from 1 to 10000000
        limits        connections_per_ip 0  10000000 -1    10000001 a whole number from 0 to 10000000
        limits        new_connections_per_second 0 1000000 -1 1000001 a whole number from 0 to 1000000
        limits        new_connections_per_ip_per_second 0 1000000 -1 1000001 a whole number from 0 to 1000000
        limits        requests_per_connection 0 1000000000 -1 1000000001 a whole number from 0 to 1000000000
        limits        handshake_timeout 1ms 24h      0      25h      a duration from 1ms to 24h
        limits        body_bytes       0    1048576GiB  1125899906842625  1048577GiB  a size from 0 to 1048576GiB
        limits        resets_per_connection  1  1000000  0  1000001  a whole number from 1 to 1000000";
    for range in ranges.lines() {
        let words: Vec<_> = range.split_whitespace().collect();
        let [section, key, least, most, below, above, what @ ..] = words.as_slice() else {
            panic!("a line of the table is too short: {range}");
        };
        for inside in [least, most] {
            accepted(&format!("{section}: {{ {key}: {inside} }}\n"));
        }
        for outside in [below, above] {
            let column = section.len() + key.len() + 7;
            let what = what.join(" ");
            assert_eq!(
                refused(&format!("{section}: {{ {key}: {outside} }}\n")),
                [format!(
                    "5:{column}: {section}.{key}: expected {what}, found '{outside}'"
                )]
            );
        }
    }
}

#[test]
fn heads_fit_the_initial_congestion_window() {
    for (size, bytes) in [("1KiB", 1 << 10), ("40KiB", 40 << 10)] {
        let config = accepted(&format!("limits: {{ header_bytes: {size} }}\n"));
        assert_eq!(config.limits.header_bytes, bytes);
    }
    let what = "5:25: limits.header_bytes: expected a size from 1KiB to 40KiB, found";
    assert_eq!(
        refused("limits: { header_bytes: 1023 }\n"),
        [format!("{what} '1023'")]
    );
    assert_eq!(
        refused("limits: { header_bytes: 40961 }\n"),
        [format!(
            "{what} '40961': larger heads do not fit the initial congestion window \
             and would never be sent on"
        )]
    );
}

#[test]
fn the_number_of_fields_has_a_range() {
    for count in [10, 1280] {
        let config = accepted(&format!("limits: {{ headers: {count} }}\n"));
        assert_eq!(config.limits.headers, count);
    }
    let what = "5:20: limits.headers: expected a whole number from 10 to 1280, found";
    assert_eq!(refused("limits: { headers: 9 }\n"), [format!("{what} '9'")]);
    assert_eq!(
        refused("limits: { headers: 1281 }\n"),
        [format!("{what} '1281'")]
    );
}

#[test]
fn socket_buffers_have_a_range() {
    let listen = |size: &str| {
        format!(
            "listen: {{ address: '::', port: 1, send_buffer: {size}, receive_buffer: {size} }}\n\
             tls: {{ cert: a, key: b }}\nbackends: [{{ id: a, address: 1.2.3.4:5 }}]\n"
        )
    };
    for inside in ["4KiB", "1GiB"] {
        super::parsed(&listen(inside));
    }
    assert_eq!(
        faults(&listen("0")),
        [
            "1:48: listen.send_buffer: expected a size from 4KiB to 1GiB, found '0'",
            "1:67: listen.receive_buffer: expected a size from 4KiB to 1GiB, found '0'",
        ]
    );
}

#[test]
fn backend_ids_are_unique() {
    assert_eq!(
        refused("  - { id: web2, address: 1.2.3.4:5 }\n  - { id: web1, address: 1.2.3.4:6 }\n"),
        ["6:11: backends[2].id: the id 'web1' is that of backends[0] already"]
    );
}

#[test]
fn some_backend_has_weight() {
    let weights = |first: &str, second: &str| {
        format!(
            "listen: {{ address: '::', port: 1 }}\ntls: {{ cert: a, key: b }}\nbackends:\n  \
             - {{ id: a, address: 1.2.3.4:5, weight: {first} }}\n  \
             - {{ id: b, address: 1.2.3.4:6, weight: {second} }}\n"
        )
    };
    let config = super::parsed(&weights("0", "1000000"));
    assert_eq!(config.upstream.backends[0].weight, 0);
    assert_eq!(
        faults(&weights("0", "0")),
        ["3:1: backends: every backend has weight 0, so none would ever be asked"]
    );
    assert_eq!(
        faults(&weights("0", "1000001")),
        ["5:42: backends[1].weight: expected a whole number from 0 to 1000000, found '1000001'"]
    );
}

#[test]
fn there_is_a_backend() {
    for empty in ["backends: []\n", "backends:\n"] {
        let text =
            format!("listen: {{ address: '::', port: 1 }}\ntls: {{ cert: a, key: b }}\n{empty}");
        assert_eq!(
            faults(&text),
            ["3:1: backends: the list is empty; at least one is needed"]
        );
    }
}

#[test]
fn idle_connections_are_among_all_connections() {
    accepted("connections: { max: 3, min_idle: 3 }\n");
    assert_eq!(
        refused("connections: { max: 3, min_idle: 4 }\n"),
        ["5:34: connections.min_idle: min_idle is 4, more than the 3 of max"]
    );
}

#[test]
fn secrets_are_named_and_machines_too() {
    let config = accepted(
        "secret: { file: s }\nprevious_secrets: [{ env: OLD }, { file: older }]\ninstance: 7\n",
    );
    assert_eq!(config.secret, Some(SecretSource::File("s".into())));
    let previous = [
        SecretSource::Env("OLD".into()),
        SecretSource::File("older".into()),
    ];
    assert_eq!(config.previous_secrets, previous);
    assert_eq!(config.instance, Instance::Named("7".into()));
    assert_eq!(config.env_vars(), ["OLD"]);
    let files: Vec<_> = config
        .files()
        .iter()
        .map(|f| f.display().to_string())
        .collect();
    assert_eq!(files[files.len() - 2..], ["s", "older"]);
    assert_eq!(
        refused("previous_secrets: [{ env: OLD }]\n"),
        [
            "5:1: previous_secrets: previous_secrets are earlier values of 'secret', which is missing"
        ]
    );
    assert_eq!(
        refused("secret: { env: A }\nprevious_secrets: [{ env: B }, sesame]\n"),
        [
            "6:32: previous_secrets[1]: expected { file: PATH } or { env: NAME }, found text: a \
          secret does not stand in the configuration, which is printed and passed around"
        ]
    );
    let many = ["{ env: A }"; 9].join(", ");
    assert_eq!(
        refused(&format!(
            "secret: {{ env: A }}\nprevious_secrets: [{many}]\n"
        )),
        ["6:1: previous_secrets: the list has 9 items; 8 at most"]
    );
    for wrong in ["''", "a b", "ü", &"x".repeat(65)] {
        let found = refused(&format!("instance: {wrong}\n"));
        let what = "5:11: instance: expected auto, or a number or name of 1 to 64 printable \
                    ASCII characters without spaces, found";
        assert!(found.len() == 1 && found[0].starts_with(what), "{found:?}");
    }
}

#[test]
fn early_data_is_refused_where_there_can_be_none() {
    assert_eq!(
        accepted("early_data: forward\n").upstream.early_data,
        EarlyData::Forward
    );
    assert_eq!(
        refused("early_data: on\n"),
        [
            "5:13: early_data: expected one of hold, forward, found 'on'; whether early data is \
          accepted at all stands in 'tls'"
        ]
    );
    let tls = |keys: &str, more: &str| {
        faults(&format!(
            "listen: {{ address: 0.0.0.0, port: 443 }}\n\
             tls: {{ cert: a.pem, key: a.key, {keys} }}\n\
             backends: [{{ id: web1, address: 192.168.1.10:443 }}]\n{more}"
        ))
    };
    assert_eq!(
        tls("session_tickets: off, early_data: on", ""),
        [
            "2:67: tls.early_data: early_data is on, and session_tickets is off: only a client \
          that resumes with a ticket can send early data"
        ]
    );
    for (keys, off) in [
        ("early_data: off", "tls.early_data"),
        ("session_tickets: off", "tls.session_tickets"),
    ] {
        assert_eq!(
            tls(keys, "early_data: forward\n"),
            [format!(
                "4:13: early_data: early data cannot be forwarded: {off} is off, so none is accepted"
            )]
        );
    }
}
