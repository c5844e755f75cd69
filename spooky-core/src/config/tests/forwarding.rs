//! What is said of clients and to backends.

use super::super::{Forwarding, XForwarded};
use super::{accepted, refused};

#[test]
fn forwarding_is_read_whole() {
    let config = accepted(
        "forwarding:\n  trusted_proxies: [10.0.0.0/8, \"::1\"]\n  x_forwarded: append\n  \
         forwarded: on\n  via: edge-1.test\n  proxy_status: off\n  client_cert: on\n",
    );
    let networks = ["10.0.0.0/8", "::1"].map(|text| text.parse().expect("a network"));
    assert_eq!(
        config.forwarding,
        Forwarding {
            trusted_proxies: networks.to_vec(),
            x_forwarded: XForwarded::Append,
            forwarded: true,
            via: Some("edge-1.test".to_owned()),
            proxy_status: false,
            client_cert: true,
        }
    );
    let printed = config.to_yaml();
    assert_eq!(
        super::meaning(&super::parsed(&printed)),
        super::meaning(&config)
    );
    let off = accepted("forwarding: { trusted_proxies: [], x_forwarded: off, via: off }\n");
    assert_eq!(
        (off.forwarding.x_forwarded, off.forwarding.via.as_ref()),
        (XForwarded::Off, None)
    );
    let printed = off.to_yaml();
    assert!(
        printed.contains("\n  via: off\n") || printed.contains("\n  via: 'off'\n"),
        "{printed}"
    );
    assert_eq!(
        super::meaning(&super::parsed(&printed)),
        super::meaning(&off)
    );
}

#[test]
fn forwarding_that_means_nothing_is_refused_where_it_stands() {
    let network = "expected an IP address or block such as 10.0.0.0/8 or 2001:db8::/32, found";
    assert_eq!(
        refused("forwarding:\n  trusted_proxies: [10.0.0.1/8, web1, ::1]\n  via: 1st\n"),
        [
            format!(
                "6:21: forwarding.trusted_proxies[0]: {network} '10.0.0.1/8': \
                 the address has bits beyond those that its '/' counts"
            ),
            format!("6:33: forwarding.trusted_proxies[1]: {network} 'web1': that is no IP address"),
            "7:8: forwarding.via: expected off, or a name of 1 to 64 letters, digits, '-', '_' \
             and '.', beginning with a letter, found '1st'"
                .to_owned(),
        ]
    );
    assert_eq!(
        refused("forwarding:\n  trusted_proxies: 10.0.0.0/8\n  x_forwarded: replacd\n"),
        [
            "6:20: forwarding.trusted_proxies: expected a list such as [A, B], found '10.0.0.0/8'",
            "7:16: forwarding.x_forwarded: expected one of replace, append, off, found 'replacd'; \
             did you mean 'replace'?",
        ]
    );
    let many = "10.0.0.1, ".repeat(1025);
    assert_eq!(
        refused(&format!("forwarding:\n  trusted_proxies: [{many}]\n")),
        ["6:3: forwarding.trusted_proxies: the list has 1025 items; 1024 at most"]
    );
    for via in ["on", "true", "\"\"", "a b", "\"a,b\"", &"a".repeat(65)] {
        let faults = refused(&format!("forwarding: {{ via: {via} }}\n"));
        assert!(
            faults[0].starts_with("5:20: forwarding.via: expected off, or a name"),
            "{faults:?}"
        );
    }
}
