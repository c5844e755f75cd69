//! Which keys may stand where, and what to say about the others.

/// The keys of one section.
#[derive(Debug)]
pub(super) struct Section {
    /// Path without list indices; empty at the top.
    pub(super) name: &'static str,
    /// Keys that work.
    pub(super) accepted: &'static [&'static str],
    /// Keys that are promised and do not work yet. They move up as they do.
    pub(super) promised: &'static [&'static str],
}

pub(super) static ROOT: Section = Section {
    name: "",
    accepted: &[
        "workers",
        "secret",
        "previous_secrets",
        "instance",
        "listen",
        "tls",
        "quic",
        "early_data",
        "backend_tls",
        "load_balancing",
        "backends",
        "connections",
        "timeouts",
        "forwarding",
        "limits",
        "websocket",
        "log",
        "drain_timeout",
    ],
    promised: &[
        "upstreams",
        "protocol",
        "health_check",
        "outlier_detection",
        "circuit_breaker",
        "dns",
        "retries",
        "routes",
        "admin",
    ],
};

pub(super) static LISTEN: Section = Section {
    name: "listen",
    accepted: &["address", "port", "receive_buffer", "send_buffer"],
    promised: &[],
};

pub(super) static TLS: Section = Section {
    name: "tls",
    accepted: &[
        "cert",
        "key",
        "pkcs12",
        "password",
        "certificates",
        "client_auth",
        "early_data",
        "session_tickets",
    ],
    promised: &[],
};

pub(super) static CERTIFICATE: Section = Section {
    name: "tls.certificates",
    accepted: &["cert", "key", "pkcs12", "password"],
    promised: &[],
};

pub(super) static CLIENT_AUTH: Section = Section {
    name: "tls.client_auth",
    accepted: &["mode", "ca"],
    promised: &[],
};

pub(super) static QUIC: Section = Section {
    name: "quic",
    accepted: &[
        "idle_timeout",
        "retry",
        "retry_threshold",
        "max_streams",
        "stream_window",
        "connection_window",
        "congestion_control",
        "active_migration",
        "path_mtu_discovery",
        "max_datagram_size",
    ],
    promised: &[],
};

pub(super) static BACKEND_TLS: Section = Section {
    name: "backend_tls",
    accepted: &["verify", "ca", "server_name"],
    promised: &["enabled", "cert", "key"],
};

pub(super) static LOAD_BALANCING: Section = Section {
    name: "load_balancing",
    accepted: &["lb_type"],
    promised: &["panic_threshold", "hash_on", "sticky", "slow_start"],
};

pub(super) static BACKEND: Section = Section {
    name: "backends",
    accepted: &["id", "address", "weight"],
    promised: &["backup"],
};

pub(super) static CONNECTIONS: Section = Section {
    name: "connections",
    accepted: &[
        "max",
        "max_requests",
        "max_pending",
        "queue_timeout",
        "min_idle",
        "idle_timeout",
    ],
    promised: &[],
};

pub(super) static TIMEOUTS: Section = Section {
    name: "timeouts",
    accepted: &["connect", "response_header", "idle", "request"],
    promised: &[],
};

pub(super) static FORWARDING: Section = Section {
    name: "forwarding",
    accepted: &[
        "trusted_proxies",
        "x_forwarded",
        "forwarded",
        "via",
        "proxy_status",
        "client_cert",
    ],
    promised: &[],
};

pub(super) static LIMITS: Section = Section {
    name: "limits",
    accepted: &[
        "connections",
        "connections_per_ip",
        "new_connections_per_second",
        "new_connections_per_ip_per_second",
        "requests_per_connection",
        "handshake_timeout",
        "request_header_timeout",
        "header_bytes",
        "headers",
        "body_bytes",
        "resets_per_connection",
    ],
    promised: &[],
};

pub(super) static LOG: Section = Section {
    name: "log",
    accepted: &["level", "access", "qlog", "tls_keys"],
    promised: &["format"],
};

pub(super) static ACCESS: Section = Section {
    name: "log.access",
    accepted: &["path", "format"],
    promised: &[],
};

pub(super) static QLOG: Section = Section {
    name: "log.qlog",
    accepted: &["dir", "sample"],
    promised: &[],
};

/// Every section there is.
pub(super) static SECTIONS: [&Section; 16] = [
    &ROOT,
    &LISTEN,
    &TLS,
    &CERTIFICATE,
    &CLIENT_AUTH,
    &QUIC,
    &BACKEND_TLS,
    &LOAD_BALANCING,
    &BACKEND,
    &CONNECTIONS,
    &TIMEOUTS,
    &FORWARDING,
    &LIMITS,
    &LOG,
    &ACCESS,
    &QLOG,
];

/// Values of `load_balancing.lb_type` that are promised.
pub(super) static PROMISED_POLICIES: [&str; 9] = [
    "round_robin",
    "weighted_random",
    "weighted_round_robin",
    "least_connections",
    "ip_hash",
    "power_of_two",
    "ring_hash",
    "maglev",
    "peak_ewma",
];

/// Values of `log.access.format` that are promised.
pub(super) static PROMISED_FORMATS: [&str; 1] = ["combined"];

impl Section {
    /// What to say about a key that `accepted` does not have.
    pub(super) fn refusal(&self, key: &str) -> String {
        if self.promised.contains(&key) {
            return format!("'{key}' is not available yet");
        }
        let shown = super::scalar::shown(key);
        if let Some(home) = self.home_of(key) {
            return format!("unknown key {shown}; it belongs under '{}'", home.name);
        }
        if let Some(nearest) = nearest(key, self.accepted) {
            return format!("unknown key {shown}; did you mean '{nearest}'?");
        }
        if let Some(nearest) = nearest(key, self.promised) {
            return format!(
                "unknown key {shown}; '{nearest}' would be a key, but is not available yet"
            );
        }
        format!(
            "unknown key {shown}; the keys here are {}",
            self.accepted.join(", ")
        )
    }

    /// The one section that has `key`, if this one cannot.
    fn home_of(&self, key: &str) -> Option<&'static Section> {
        let mut homes = SECTIONS
            .iter()
            .filter(|section| !section.name.is_empty() && section.accepted.contains(&key));
        match (homes.next(), homes.next()) {
            (Some(home), None) => Some(home),
            (Some(_) | None, _) => None,
        }
    }
}

/// The one of `known` that `word` was probably meant to be.
pub(super) fn nearest(word: &str, known: &[&'static str]) -> Option<&'static str> {
    // The distance costs the product of the lengths, and nothing we know is long.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_ascii_lowercase().replace(['-', ' '], "_");
    let slips = (word.chars().count() / 3).clamp(1, 3);
    known
        .iter()
        .map(|&candidate| (strsim::osa_distance(&word, candidate), candidate))
        .filter(|&(distance, _)| distance <= slips)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}
