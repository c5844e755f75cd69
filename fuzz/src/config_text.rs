//! The text of a configuration, and the files it names.
//!
//! An input is the text, and after each NUL the bytes of a file: certificate, key,
//! trusted roots, a root of the system's. `C` and `K` stand for a certificate and a
//! key that are sound; a file that is not there can't be read.

use std::time::{Duration, Instant};

use spooky_core::config::{Config, Diagnostic, Upstream};
use spooky_core::{Material, Setup};

const NAME: &str = "folder/spooky.yaml";

/// Far more than the longest input takes on a busy machine, and less than one
/// would wait whose time grows with the square of its length.
const PATIENCE: Duration = Duration::from_secs(10);

const CERTIFICATE: &[u8] = include_bytes!("../fixtures/cert.pem");
const KEY: &[u8] = include_bytes!("../fixtures/key.pem");

/// A text is refused with reasons in their places, or means something that can be
/// printed, read again, and built.
pub fn config_text(data: &[u8]) {
    let begun = Instant::now();
    let mut parts = data.split(|byte| *byte == 0);
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
    match Config::parse(NAME, &text) {
        Ok(config) => {
            check_print(&config);
            build(config, &text, parts.collect());
        }
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a word");
            faults.iter().for_each(|fault| check_fault(fault, &text));
        }
    }
    let took = begun.elapsed();
    assert!(took < PATIENCE, "{} bytes took {took:?}", data.len());
}

fn check_print(config: &Config) {
    let printed = config.to_yaml();
    let again = Config::parse(NAME, &printed)
        .unwrap_or_else(|faults| panic!("what was printed is refused: {faults:?}\n{printed}"));
    check_same(config, &again);
    assert_eq!(printed, again.to_yaml());
}

/// Two configurations say the same, wherever they say it. Paths are compared as
/// paths: `./a` is `a`.
fn check_same(one: &Config, other: &Config) {
    // Named one by one, so that a new part is not forgotten here.
    let Config {
        workers,
        secret,
        previous_secrets,
        instance,
        listen,
        tls,
        quic,
        upstream,
        forwarding,
        limits,
        log,
        drain_timeout,
        websocket,
        positions: _,
    } = one;
    assert_eq!(*workers, other.workers);
    assert_eq!(*secret, other.secret);
    assert_eq!(*previous_secrets, other.previous_secrets);
    assert_eq!(*instance, other.instance);
    assert_eq!(*listen, other.listen);
    assert_eq!(*tls, other.tls);
    assert_eq!(*quic, other.quic);
    assert_eq!(*forwarding, other.forwarding);
    assert_eq!(*limits, other.limits);
    assert_eq!(*log, other.log);
    assert_eq!(*drain_timeout, other.drain_timeout);
    assert_eq!(*websocket, other.websocket);
    let Upstream {
        name,
        backend_tls,
        load_balancing,
        backends,
        connections,
        timeouts,
        quic,
        early_data,
    } = upstream;
    let other = &other.upstream;
    assert_eq!(*name, other.name);
    assert_eq!(*backend_tls, other.backend_tls);
    assert_eq!(*load_balancing, other.load_balancing);
    assert_eq!(*backends, other.backends);
    assert_eq!(*connections, other.connections);
    assert_eq!(*timeouts, other.timeouts);
    assert_eq!(*quic, other.quic);
    assert_eq!(*early_data, other.early_data);
}

fn build(config: Config, text: &str, parts: Vec<&[u8]>) {
    let file = |place: usize| match parts.get(place).copied() {
        None => Err("No such file or directory".to_owned()),
        Some(b"C") => Ok(CERTIFICATE.to_vec()),
        Some(b"K") => Ok(KEY.to_vec()),
        Some(bytes) => Ok(bytes.to_vec()),
    };
    let material = Material {
        files: config.files().into_iter().zip((0..).map(file)).collect(),
        env: (config.env_vars().into_iter())
            .map(|name| (name, parts.last().copied().unwrap_or_default().to_vec()))
            .collect(),
        system_roots: parts.get(3).map(|root| root.to_vec()).into_iter().collect(),
        // In the fixtures' time; what is said of others' is a warning, and goes to the log.
        wall: Some(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_767_225_600)),
    };
    let named = config.clone();
    match Setup::build(config, &material) {
        Ok(setup) => check_same(setup.config(), &named),
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a word");
            faults.iter().for_each(|fault| check_fault(fault, text));
        }
    }
}

/// A reason names the file, a place that the text has, and something in words.
fn check_fault(fault: &Diagnostic, text: &str) {
    assert_eq!(fault.file, NAME);
    assert!(!fault.message.trim().is_empty(), "{fault:?}");
    let shown = fault.to_string();
    assert!(!shown.contains(['\n', '\r', '\0']), "one line: {shown:?}");
    let Some(position) = fault.position else {
        assert!(fault.path.is_empty(), "a path has its place: {fault:?}");
        return;
    };
    let breaks = text.matches(['\n', '\r']).count();
    assert!((1..=breaks + 2).contains(&position.line), "{fault:?}");
    let longest = text.chars().count();
    assert!((1..=longest + 1).contains(&position.column), "{fault:?}");
}

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let shipped = [
        ("minimal", include_str!("../../config/minimal.yaml")),
        ("full", include_str!("../../config/full.yaml")),
        ("weighted", include_str!("../../config/weighted.yaml")),
        ("edge", include_str!("../../config/edge.yaml")),
        ("trial", include_str!("../../config/trial.yaml")),
    ];
    let least = "listen: { address: 0.0.0.0, port: 443 }\ntls: { cert: a.pem, key: a.key }\n";
    let one = "backends: [ { id: a, address: '192.0.2.1:443' } ]\n";
    let with = |more: &str| format!("{least}{one}{more}").into_bytes();
    let mut seeds: Vec<_> = shipped.map(|(name, text)| (name, text.into())).into();
    let files = |more: &str, files: &[u8]| [&with(more)[..], files].concat();
    let unverified = "backend_tls: { verify: off }\n";
    let known = |tls: &str, files: &[u8]| {
        let listen = "listen: { address: 0.0.0.0, port: 443 }\n";
        [
            format!("{listen}tls: {tls}\n{one}{unverified}").as_bytes(),
            files,
        ]
        .concat()
    };
    let with_root = "backend_tls: { ca: ca.pem, server_name: a_b.test }\n";
    seeds.extend([
        ("built", files(unverified, b"\0C\0K")),
        ("built-with-root", files(with_root, b"\0C\0K\0C")),
        ("wrong-files", files(with_root, b"\0K\0C\0K")),
        ("garbled-files", files(with_root, b"\0-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n\0\0")),
        ("bad-system-root", files("", b"\0C\0K\0\0\x30\x03\x02\x01\x01")),
        ("der-files", files(unverified, b"\0\x30\x82\x01\x01\x30\x03\x02\x01\x01\0\x30\x0b\x30\x03\x06\x01\x2a\x04\x01\xff")),
        ("bundle", known("{ pkcs12: a.p12, password: { env: PASSWORD } }", b"\0\x30\x03\x02\x01\x03\0open sesame")),
        ("password-file", known("{ pkcs12: a.p12, password: { file: pass } }", b"\0\x30\x03\x02\x01\x03\0\n")),
        ("certificates", known("{ cert: a, key: b, certificates: [{ cert: c, key: d }, { pkcs12: e }] }", b"\0C\0K\0C\0K\0\x30\x80")),
        ("client-auth", known("{ cert: a, key: b, client_auth: { mode: require, ca: c } }", b"\0C\0K\0C")),
        ("empty", Vec::new()),
        ("unknown-keys", with("wokers: 3\nquic: { retries: 1, max: 2 }\nadmin: {}\n")),
        ("wrong-kinds", with("workers: [1]\nquic: 5\nlimits: { header_bytes: { } }\n")),
        ("out-of-range", with("workers: 0\ndrain_timeout: 99999999999999999999h\nlimits: { header_bytes: 41KiB }\n")),
        ("windows", with("quic: { max_streams: 10000, stream_window: 1GiB, connection_window: 20TiB }\n")),
        ("twice", with("workers: 1\nworkers: 2\n")),
        ("anchors", with("workers: &a 1\nquic: *a\n")),
        ("paths", with("log: { level: trace, access: { path: ./stdout, format: json } }\n")),
        ("tab", with("quic:\n\tmax_streams: 1\n")),
        ("quoted", with("\"workers\": \"\\x31\"\ndrain_timeout: '0'\n")),
        ("blocks", with("log:\n  access:\n    path: >-\n      a\n\n      b\n")),
        ("documents", with("---\nworkers: 1\n...\n")),
        ("forwarding", with("forwarding: { trusted_proxies: [10.0.0.0/8, '::ffff:1.2.3.4', ::1/64], via: off, x_forwarded: off }\nlimits: { headers: 10 }\n")),
        ("deep", vec![b'['; 200]),
        ("addresses", format!("{least}backends:\n- {{ id: a, address: '[::ffff:1.2.3.4]:1' }}\n- {{ id: b, address: '[fe80::1%1]:2', weight: 0 }}\n").into()),
    ]);
    seeds
}
