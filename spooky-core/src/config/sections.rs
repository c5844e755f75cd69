//! Each section of the text → its part of the model, and the rules between keys.

use std::collections::BTreeMap;

use super::bounds;
use super::decode::{Decoder, View};
use super::model::{
    AccessFormat, AccessLog, Backend, BackendTls, Config, Connections, EarlyData, Forwarding,
    Instance, Limits, Listen, LoadBalancing, Log, Qlog, Quic, Timeouts, Tls, Upstream, Workers,
};
use super::node::Node;
use super::scalar;
use super::schema;
use super::secret;
use super::units::format_size;

/// The whole configuration, unless something it needs is missing. It is legal
/// only if the decoder has nothing to report.
pub(super) fn config(decoder: &mut Decoder<'_>, root: &Node) -> Option<Config> {
    let root = decoder.root(root, &schema::ROOT);
    let workers = decoder.value(&root, "workers", Workers::Auto, scalar::workers);
    let base = decoder.base;
    let secret = decoder.optional(&root, "secret", |node| secret::secret(node, base));
    let most = bounds::PREVIOUS_SECRETS;
    let previous_secrets = decoder.list(&root, "previous_secrets", most, |node| {
        secret::secret(node, base)
    });
    let instance = decoder.value(&root, "instance", Instance::Auto, scalar::instance);
    let listen = listen(decoder, &root);
    let tls = super::identities::tls(decoder, &root);
    let quic = quic(decoder, &root);
    let upstream = upstream(decoder, &root, quic.clone());
    let forwarding = forwarding(decoder, &root);
    let limits = limits(decoder, &root);
    let websocket = super::defaults::WEBSOCKET;
    let websocket = decoder.value(&root, "websocket", websocket, scalar::flag);
    let log = log(decoder, &root);
    check_early_data(decoder, &root, tls.as_ref(), &upstream);
    if secret.is_none() && !previous_secrets.is_empty() {
        let message = "previous_secrets are earlier values of 'secret', which is missing";
        decoder.combination(&root, &["previous_secrets"], message.to_owned());
    }
    let drain_timeout = decoder.value(
        &root,
        "drain_timeout",
        super::defaults::DRAIN_TIMEOUT,
        |node| scalar::duration(node, &bounds::WAIT_OR_NONE),
    );
    Some(Config {
        workers,
        secret,
        previous_secrets,
        instance,
        listen: listen?,
        tls: tls?,
        quic,
        upstream,
        forwarding,
        limits,
        websocket,
        log,
        drain_timeout,
        positions: std::mem::take(&mut decoder.positions),
    })
}

fn listen(decoder: &mut Decoder<'_>, root: &View<'_>) -> Option<Listen> {
    let view = decoder.required_section(root, "listen", &schema::LISTEN)?;
    let address = decoder.required(&view, "address", scalar::ip);
    let port = decoder.required(&view, "port", |node| {
        scalar::number(node, &(u16::MIN..=u16::MAX))
    });
    let buffer = |node: &Node| scalar::size(node, &bounds::SOCKET_BUFFER);
    let default = super::defaults::SOCKET_BUFFER;
    let receive_buffer = decoder.value(&view, "receive_buffer", default, buffer);
    let send_buffer = decoder.value(&view, "send_buffer", default, buffer);
    Some(Listen {
        address: address?,
        port: port?,
        receive_buffer,
        send_buffer,
    })
}

/// What is to be forwarded has to be accepted first.
fn check_early_data(
    decoder: &mut Decoder<'_>,
    root: &View<'_>,
    tls: Option<&Tls>,
    upstream: &Upstream,
) {
    let Some(tls) = tls.filter(|tls| !tls.early_data) else {
        return;
    };
    if upstream.early_data == EarlyData::Forward {
        let off = if tls.session_tickets {
            "tls.early_data"
        } else {
            "tls.session_tickets"
        };
        let message = format!("early data cannot be forwarded: {off} is off, so none is accepted");
        decoder.combination(root, &["early_data"], message);
    }
}

fn quic(decoder: &mut Decoder<'_>, root: &View<'_>) -> Quic {
    let before = decoder.count();
    let view = decoder.section(root, "quic", &schema::QUIC);
    let default = Quic::default();
    let quic = Quic {
        idle_timeout: decoder.value(&view, "idle_timeout", default.idle_timeout, |node| {
            scalar::duration(node, &bounds::QUIC_IDLE)
        }),
        retry: decoder.value(&view, "retry", default.retry, scalar::retry),
        retry_threshold: decoder.value(&view, "retry_threshold", default.retry_threshold, |node| {
            scalar::number(node, &bounds::RETRY_THRESHOLD)
        }),
        max_streams: decoder.value(&view, "max_streams", default.max_streams, |node| {
            scalar::number(node, &bounds::STREAMS)
        }),
        stream_window: decoder.value(&view, "stream_window", default.stream_window, |node| {
            scalar::size(node, &bounds::STREAM_WINDOW)
        }),
        connection_window: decoder.value(
            &view,
            "connection_window",
            default.connection_window,
            |node| scalar::size(node, &bounds::CONNECTION_WINDOW),
        ),
        congestion_control: decoder.value(
            &view,
            "congestion_control",
            default.congestion_control,
            scalar::congestion_control,
        ),
        active_migration: decoder.value(
            &view,
            "active_migration",
            default.active_migration,
            scalar::flag,
        ),
        path_mtu_discovery: decoder.value(
            &view,
            "path_mtu_discovery",
            default.path_mtu_discovery,
            scalar::flag,
        ),
        max_datagram_size: decoder.value(
            &view,
            "max_datagram_size",
            default.max_datagram_size,
            |node| scalar::number(node, &bounds::DATAGRAM),
        ),
    };
    if decoder.clean_since(before) {
        check_windows(decoder, &view, &quic);
    }
    quic
}

/// quiche gives no more connection credit once unread bytes reach half the
/// connection's window: were all streams but one stalled and full, the last one
/// would wait for them.
fn check_windows(decoder: &mut Decoder<'_>, view: &View<'_>, quic: &Quic) {
    let full = 2 * quic.max_streams * quic.stream_window;
    if quic.connection_window > full {
        return;
    }
    let message = format!(
        "connection_window is {}, and must be more than 2 × max_streams × stream_window = {}, \
         so at least {} bytes: with less, streams that stall freeze the others",
        format_size(quic.connection_window),
        format_size(full),
        full + 1,
    );
    let keys = ["connection_window", "stream_window", "max_streams"];
    decoder.combination(view, &keys, message);
}

fn upstream(decoder: &mut Decoder<'_>, root: &View<'_>, quic: Quic) -> Upstream {
    Upstream {
        name: super::defaults::UPSTREAM.to_owned(),
        early_data: decoder.value(
            root,
            "early_data",
            super::defaults::EARLY_REQUESTS,
            scalar::early_requests,
        ),
        backend_tls: backend_tls(decoder, root),
        load_balancing: load_balancing(decoder, root),
        backends: backends(decoder, root),
        connections: connections(decoder, root),
        timeouts: timeouts(decoder, root),
        quic,
    }
}

fn backend_tls(decoder: &mut Decoder<'_>, root: &View<'_>) -> BackendTls {
    let view = decoder.section(root, "backend_tls", &schema::BACKEND_TLS);
    let base = decoder.base;
    let default = BackendTls::default();
    BackendTls {
        verify: decoder.value(&view, "verify", default.verify, scalar::flag),
        ca: decoder.optional(&view, "ca", |node| scalar::path(node, base)),
        server_name: decoder.optional(&view, "server_name", scalar::server_name),
    }
}

fn load_balancing(decoder: &mut Decoder<'_>, root: &View<'_>) -> LoadBalancing {
    let view = decoder.section(root, "load_balancing", &schema::LOAD_BALANCING);
    let default = LoadBalancing::default();
    LoadBalancing {
        lb_type: decoder.value(&view, "lb_type", default.lb_type, scalar::policy),
    }
}

fn backends(decoder: &mut Decoder<'_>, root: &View<'_>) -> Vec<Backend> {
    let before = decoder.count();
    let items = decoder.required_list(root, "backends", &schema::BACKEND);
    let mut first_with = BTreeMap::new();
    let mut backends = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let id = decoder.required(item, "id", scalar::backend_id);
        let address = decoder.required(item, "address", scalar::backend_address);
        let default = super::defaults::WEIGHT;
        let weight = decoder.value(item, "weight", default, |node| {
            scalar::number(node, &bounds::WEIGHT)
        });
        if let Some(id) = &id {
            let first = *first_with.entry(id.clone()).or_insert(index);
            if first != index {
                let message = format!("the id '{id}' is that of backends[{first}] already");
                decoder.combination(item, &["id"], message);
            }
        }
        if let (Some(id), Some(address)) = (id, address) {
            backends.push(Backend {
                id,
                address,
                weight,
            });
        }
    }
    let idle = !backends.is_empty() && backends.iter().all(|backend| backend.weight == 0);
    if idle && decoder.clean_since(before) {
        let message = "every backend has weight 0, so none would ever be asked";
        decoder.combination(root, &["backends"], message.to_owned());
    }
    backends
}

fn connections(decoder: &mut Decoder<'_>, root: &View<'_>) -> Connections {
    let before = decoder.count();
    let view = decoder.section(root, "connections", &schema::CONNECTIONS);
    let default = Connections::default();
    let wait = |node: &Node| scalar::duration(node, &bounds::WAIT);
    let connections = Connections {
        max: decoder.value(&view, "max", default.max, |node| {
            scalar::number(node, &bounds::CONNECTIONS)
        }),
        max_requests: decoder.value(&view, "max_requests", default.max_requests, |node| {
            scalar::number(node, &bounds::REQUESTS)
        }),
        max_pending: decoder.value(&view, "max_pending", default.max_pending, |node| {
            scalar::number(node, &bounds::PENDING)
        }),
        queue_timeout: decoder.value(&view, "queue_timeout", default.queue_timeout, wait),
        min_idle: decoder.value(&view, "min_idle", default.min_idle, |node| {
            scalar::number(node, &bounds::IDLE_CONNECTIONS)
        }),
        idle_timeout: decoder.value(&view, "idle_timeout", default.idle_timeout, wait),
    };
    let Connections { max, min_idle, .. } = connections;
    if decoder.clean_since(before) && min_idle > max {
        let message = format!("min_idle is {min_idle}, more than the {max} of max");
        decoder.combination(&view, &["min_idle", "max"], message);
    }
    connections
}

fn timeouts(decoder: &mut Decoder<'_>, root: &View<'_>) -> Timeouts {
    let view = decoder.section(root, "timeouts", &schema::TIMEOUTS);
    let default = Timeouts::default();
    let wait = |node: &Node| scalar::duration(node, &bounds::WAIT);
    Timeouts {
        connect: decoder.value(&view, "connect", default.connect, wait),
        response_header: decoder.value(&view, "response_header", default.response_header, wait),
        idle: decoder.value(&view, "idle", default.idle, wait),
        request: decoder.value(&view, "request", default.request, |node| {
            scalar::duration(node, &bounds::WAIT_OR_NONE)
        }),
    }
}

fn forwarding(decoder: &mut Decoder<'_>, root: &View<'_>) -> Forwarding {
    let view = decoder.section(root, "forwarding", &schema::FORWARDING);
    let default = Forwarding::default();
    let most = bounds::TRUSTED_PROXIES;
    Forwarding {
        trusted_proxies: decoder.list(&view, "trusted_proxies", most, scalar::network),
        x_forwarded: decoder.value(
            &view,
            "x_forwarded",
            default.x_forwarded,
            scalar::x_forwarded,
        ),
        forwarded: decoder.value(&view, "forwarded", default.forwarded, scalar::flag),
        via: decoder.value(&view, "via", default.via, scalar::pseudonym),
        proxy_status: decoder.value(&view, "proxy_status", default.proxy_status, scalar::flag),
        client_cert: decoder.value(&view, "client_cert", default.client_cert, scalar::flag),
    }
}

fn limits(decoder: &mut Decoder<'_>, root: &View<'_>) -> Limits {
    let view = decoder.section(root, "limits", &schema::LIMITS);
    let default = Limits::default();
    let wait = |node: &_| scalar::duration(node, &bounds::WAIT);
    let per_second = |node: &_| scalar::number(node, &bounds::NEW_CONNECTIONS);
    Limits {
        connections: decoder.value(&view, "connections", default.connections, |node| {
            scalar::number(node, &bounds::CLIENTS)
        }),
        connections_per_ip: decoder.value(
            &view,
            "connections_per_ip",
            default.connections_per_ip,
            |node| scalar::number(node, &bounds::CLIENTS_PER_IP),
        ),
        new_connections_per_second: decoder.value(
            &view,
            "new_connections_per_second",
            default.new_connections_per_second,
            per_second,
        ),
        new_connections_per_ip_per_second: decoder.value(
            &view,
            "new_connections_per_ip_per_second",
            default.new_connections_per_ip_per_second,
            per_second,
        ),
        requests_per_connection: decoder.value(
            &view,
            "requests_per_connection",
            default.requests_per_connection,
            |node| scalar::number(node, &bounds::REQUESTS_PER_CONNECTION),
        ),
        handshake_timeout: decoder.value(
            &view,
            "handshake_timeout",
            default.handshake_timeout,
            wait,
        ),
        request_header_timeout: decoder.value(
            &view,
            "request_header_timeout",
            default.request_header_timeout,
            wait,
        ),
        header_bytes: decoder.value(
            &view,
            "header_bytes",
            default.header_bytes,
            scalar::header_bytes,
        ),
        headers: decoder.value(&view, "headers", default.headers, |node| {
            scalar::number(node, &bounds::HEADERS)
        }),
        body_bytes: decoder.value(&view, "body_bytes", default.body_bytes, |node| {
            scalar::size(node, &bounds::BODY_BYTES)
        }),
        resets_per_connection: decoder.value(
            &view,
            "resets_per_connection",
            default.resets_per_connection,
            |node| scalar::number(node, &bounds::RESETS),
        ),
    }
}

fn log(decoder: &mut Decoder<'_>, root: &View<'_>) -> Log {
    let view = decoder.section(root, "log", &schema::LOG);
    let level = decoder.value(&view, "level", Log::default().level, scalar::level);
    let base = decoder.base;
    Log {
        level,
        access: access(decoder, &view),
        qlog: qlog(decoder, &view),
        tls_keys: decoder.optional(&view, "tls_keys", |node| scalar::path(node, base)),
    }
}

fn qlog(decoder: &mut Decoder<'_>, log: &View<'_>) -> Option<Qlog> {
    let view = decoder.optional_section(log, "qlog", &schema::QLOG)?;
    let base = decoder.base;
    let dir = decoder.required(&view, "dir", |node| scalar::folder(node, base));
    let default = super::defaults::QLOG_SAMPLE;
    let sample = decoder.value(&view, "sample", default, scalar::sample);
    Some(Qlog { dir: dir?, sample })
}

fn access(decoder: &mut Decoder<'_>, log: &View<'_>) -> Option<AccessLog> {
    let view = decoder.optional_section(log, "access", &schema::ACCESS)?;
    let base = decoder.base;
    let path = decoder.required(&view, "path", |node| scalar::log_target(node, base));
    let format = decoder.value(&view, "format", AccessFormat::Json, scalar::access_format);
    Some(AccessLog {
        path: path?,
        format,
    })
}
