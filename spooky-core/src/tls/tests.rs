//! Certificates and keys in every form they come in, and what is said of the others.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use boring::asn1::Asn1Time;
use boring::bn::BigNum;
use boring::ec::{EcGroup, EcKey};
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkcs12::Pkcs12;
use boring::pkey::{PKey, Private};
use boring::rsa::Rsa;
use boring::stack::Stack;
use boring::symm::Cipher;
use boring::x509::extension::{BasicConstraints, SubjectAlternativeName};
use boring::x509::{X509, X509Name};

use super::session_context;
use crate::config::{Config, Diagnostic};
use crate::{Material, Setup};

/// 2026-07-01, in the middle of what [`certificate`] makes.
const NOW: u64 = 1_782_864_000;
const HALF_YEAR: u64 = 182 * 24 * 60 * 60;

#[test]
fn keys_are_read_in_every_form() {
    let ec = ec_key();
    let sec1 = ec.ec_key().expect("it is one");
    // An optional public key that is left out makes it look like no SEC1 to BoringSSL.
    let short = [&[0x30, 0x31][..], &sec1_without_public_key(&sec1)].concat();
    let rsa = PKey::from_rsa(Rsa::generate(2048).expect("made")).expect("made");
    let pkcs1 = rsa.rsa().expect("it is one");
    let parameters =
        b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    for (form, key, bytes) in [
        ("PKCS#8 PEM", &ec, ec.private_key_to_pem_pkcs8()),
        ("PKCS#8 DER", &ec, ec.private_key_to_der_pkcs8()),
        ("SEC1 PEM", &ec, sec1.private_key_to_pem()),
        ("SEC1 DER", &ec, sec1.private_key_to_der()),
        ("SEC1 DER, short", &ec, Ok(short)),
        ("PKCS#1 PEM", &rsa, pkcs1.private_key_to_pem()),
        ("PKCS#1 DER", &rsa, pkcs1.private_key_to_der()),
        ("RSA PKCS#8 DER", &rsa, rsa.private_key_to_der_pkcs8()),
        (
            "SEC1 PEM behind its parameters",
            &ec,
            sec1.private_key_to_pem()
                .map(|pem| [&parameters[..], &pem].concat()),
        ),
    ] {
        let leaf = certificate(key, "a.test", &["a.test"], None);
        let files = [
            ("cert.pem", leaf.to_der().expect("encoded")),
            ("key.pem", bytes.expect("encoded")),
        ];
        assert_eq!(faults(PAIR, &files), [""; 0], "{form}");
    }
}

#[test]
fn chains_are_read_as_pem_and_der() {
    let Chain {
        leaf, inner, key, ..
    } = chain();
    let key = key.private_key_to_der_pkcs8().expect("encoded");
    let pem = [leaf.to_pem(), inner.to_pem()].map(|pem| pem.expect("encoded"));
    let der = [leaf.to_der(), inner.to_der()].map(|der| der.expect("encoded"));
    for bytes in [pem.concat(), der.concat(), der[0].clone()] {
        let files = [("cert.pem", bytes), ("key.pem", key.clone())];
        assert_eq!(faults(PAIR, &files), [""; 0]);
    }
    let at = "spooky.yaml:2:14: tls.cert: cert.pem: ";
    let expected = "certificates as PEM or DER, leaf first, are expected";
    for (bytes, found) in [
        (
            [&der[0][..], b"0"].concat(),
            "what follows its last certificate is none",
        ),
        (key.clone(), "it holds a private key"),
        (
            der[0][..40].to_vec(),
            "it has no line beginning with -----BEGIN and is no DER certificate",
        ),
        (
            b"\x30\x84\xff\xff\xff\xff".to_vec(),
            "it has no line beginning with -----BEGIN and is no DER certificate",
        ),
    ] {
        let files = [("cert.pem", bytes), ("key.pem", key.clone())];
        assert_eq!(faults(PAIR, &files), [format!("{at}{found}; {expected}")]);
    }
    let files = [("cert.pem", Vec::new()), ("key.pem", key.clone())];
    assert_eq!(
        faults(PAIR, &files),
        [format!(
            "{at}the file is empty; a certificate chain, leaf first, is expected"
        )]
    );
    // The key is right, the order is not.
    let files = [
        ("cert.pem", [&pem[1][..], &pem[0]].concat()),
        ("key.pem", key),
    ];
    assert_eq!(
        faults(PAIR, &files),
        [
            "spooky.yaml:2:29: tls.key: key.pem: the key belongs to certificate 2 of the chain, \
          and the leaf has to stand first"
        ]
    );
}

#[test]
fn a_key_that_is_none_or_locked_says_so_in_der_too() {
    let key = ec_key();
    let leaf = certificate(&key, "a.test", &[], None)
        .to_der()
        .expect("encoded");
    let locked = key
        .private_key_to_der_pkcs8_passphrase(Cipher::aes_128_cbc(), b"open sesame")
        .expect("encoded");
    let locked_pem = key
        .ec_key()
        .and_then(|key| key.private_key_to_pem_passphrase(Cipher::aes_128_cbc(), b"open"))
        .expect("encoded");
    let expected = "PKCS#8, PKCS#1 or SEC1, as PEM or DER, is expected";
    let none = "no usable private key in it";
    for (bytes, reason) in [
        (
            locked,
            format!("{none}; it seems to be encrypted; {expected}"),
        ),
        (
            locked_pem,
            "the key is encrypted; give it without a password, or as a pkcs12 bundle with one"
                .to_owned(),
        ),
        (
            leaf.clone(),
            format!("{none}; it holds a certificate; {expected}"),
        ),
        (Vec::new(), format!("{none}; {expected}")),
    ] {
        let files = [("cert.pem", leaf.clone()), ("key.pem", bytes)];
        assert_eq!(
            faults(PAIR, &files),
            [format!("spooky.yaml:2:29: tls.key: key.pem: {reason}")]
        );
    }
}

#[test]
fn a_bundle_opens_with_its_password_and_no_other() {
    let locked = chain().bundle("open sesame");
    let open = chain().bundle("");
    let with = "tls: { pkcs12: a.p12, password: { file: pass } }\n";
    let without = "tls: { pkcs12: a.p12 }\n";
    let at = "spooky.yaml:2:16: tls.pkcs12: a.p12:";
    for (tls, bundle, password, fault) in [
        (with, &locked, "open sesame\n", None),
        (with, &locked, "open sesame", None),
        (without, &open, "", None),
        (
            with,
            &locked,
            "open says me\n",
            Some("the password is wrong, or the bundle was altered"),
        ),
        (
            without,
            &locked,
            "",
            Some("the bundle is encrypted; 'password' has to say where its password is"),
        ),
        (
            with,
            &b"no bundle".to_vec(),
            "a",
            Some("not a sound PKCS#12 bundle (.p12 or .pfx)"),
        ),
    ] {
        let files = [("a.p12", bundle.clone()), ("pass", password.into())];
        let fault: Vec<_> = fault
            .map(|text| format!("{at} {text}"))
            .into_iter()
            .collect();
        assert_eq!(faults(tls, &files), fault);
    }
    for (password, said) in [
        ("\n", "pass: it is empty, and a secret has to be given"),
        ("a\0b", "pass: not a line of UTF-8 text"),
    ] {
        let files = [("a.p12", locked.clone()), ("pass", password.into())];
        assert_eq!(
            faults(with, &files),
            [format!("spooky.yaml:2:23: tls.password: {said}")]
        );
    }
}

#[test]
fn a_bundle_is_sent_in_order_and_without_its_root() {
    let chain = chain();
    let bytes = chain.bundle("a");
    let (found, key) = super::encoding::bundle(&bytes, Some("a")).expect("opened");
    let ders: Vec<_> = found
        .iter()
        .map(|one| one.to_der().expect("encoded"))
        .collect();
    let expected = [&chain.leaf, &chain.inner].map(|one| one.to_der().expect("encoded"));
    assert_eq!(ders, expected);
    assert!(key.public_eq(&chain.key));
}

#[test]
fn a_certificate_out_of_its_time_is_a_warning_with_the_date() {
    let Chain {
        leaf, inner, key, ..
    } = chain();
    let pem = [leaf.to_pem(), inner.to_pem()].map(|pem| pem.expect("encoded"));
    let key = key.private_key_to_pem_pkcs8().expect("encoded");
    let files = [("cert.pem", pem.concat()), ("key.pem", key.clone())];
    let single = [("cert.pem", pem[0].clone()), ("key.pem", key)];
    let at = "spooky.yaml:2:14: tls.cert: cert.pem:";
    let refuse = "clients will refuse it";
    assert_eq!(warnings(PAIR, &files, NOW), [""; 0]);
    assert_eq!(
        warnings(PAIR, &single, NOW + 2 * HALF_YEAR),
        [format!(
            "{at} the certificate of a.test expired on Dec 30 00:00:00 2026 GMT; {refuse}"
        )]
    );
    assert_eq!(
        warnings(PAIR, &files, NOW - 2 * HALF_YEAR),
        [
            format!(
                "{at} certificate 1 of 2 of a.test is not valid before \
                 Dec 31 00:00:00 2025 GMT; {refuse}"
            ),
            format!(
                "{at} certificate 2 of 2 is not valid before Dec 31 00:00:00 2025 GMT; {refuse}"
            ),
        ]
    );
    let asked =
        "tls: { cert: cert.pem, key: key.pem, client_auth: { mode: require, ca: cert.pem } }\n";
    let told = warnings(asked, &single, NOW + 2 * HALF_YEAR);
    assert_eq!(
        told[1..],
        [
            "spooky.yaml:2:72: tls.client_auth.ca: cert.pem: the certificate of a.test expired on \
          Dec 30 00:00:00 2026 GMT; no client's certificate is good by it"
        ]
    );
}

#[test]
fn a_certificate_that_is_never_chosen_is_a_warning() {
    let key = ec_key();
    let pem = |names: &[&str]| {
        let made = certificate(&key, "x", names, None);
        made.to_pem().expect("encoded")
    };
    let files = [
        ("a.pem", pem(&[])),
        ("b.pem", pem(&["b.test", "*.b.test"])),
        ("c.pem", pem(&["B.test"])),
        ("d.pem", pem(&[])),
        ("e.pem", pem(&["b.test", "e.test"])),
        ("key.pem", key.private_key_to_pem_pkcs8().expect("encoded")),
    ];
    let list = ["b", "c", "d", "e"].map(|name| format!("{{ cert: {name}.pem, key: key.pem }}"));
    let tls = format!(
        "tls: {{ cert: a.pem, key: key.pem, certificates: [{}] }}\n",
        list.join(", ")
    );
    let told = warnings(&tls, &files, NOW);
    let ends = [
        "tls.certificates[1]: every name of this certificate is that of an earlier one, \
         so it is never chosen",
        "tls.certificates[2]: this certificate has no DNS name among its subjectAltNames, \
         so it is never chosen",
    ];
    assert_eq!(told.len(), ends.len(), "{told:?}");
    for (told, end) in told.iter().zip(ends) {
        assert!(told.ends_with(end), "{told}");
    }
}

#[test]
fn faults_name_the_certificate_of_the_list() {
    let files = [("cert.pem", Vec::new()), ("key.pem", Vec::new())];
    let tls = "tls: { pkcs12: a.p12, certificates: [{ cert: cert.pem, key: key.pem }] }\n";
    let found = faults(tls, &files);
    assert_eq!(
        found,
        [
            "spooky.yaml:2:16: tls.pkcs12: a.p12: was not read",
            "spooky.yaml:2:46: tls.certificates[0].cert: cert.pem: the file is empty; \
             a certificate chain, leaf first, is expected",
        ]
    );
}

#[test]
fn sessions_are_bound_to_who_may_connect_and_how_much_they_may_send() {
    let (one, two) = (chain(), chain());
    let pem = |chains: &[&Chain]| -> Vec<u8> {
        let pems = chains.iter().map(|c| c.root.to_pem().expect("encoded"));
        pems.flatten().collect()
    };
    let context = |tls: &str, ca: Vec<u8>, more: &str| {
        let files = [
            ("cert.pem", one.leaf.to_pem().expect("encoded")),
            (
                "key.pem",
                one.key.private_key_to_pem_pkcs8().expect("encoded"),
            ),
            ("ca.pem", ca),
        ];
        let tls = format!("tls: {{ cert: cert.pem, key: key.pem{tls} }}\n{more}");
        let setup = build(&tls, &files, None).expect("legal");
        session_context(setup.config(), setup.clients()).expect("made")
    };
    let auth = |mode: &str| format!(", client_auth: {{ mode: {mode}, ca: ca.pem }}");
    let none = context("", pem(&[&one]), "");
    // Who is not verified is not verified against anybody.
    assert_eq!(none, context(&auth("none"), pem(&[&two]), ""));
    assert_eq!(
        none,
        context("", pem(&[&one]), "quic: { idle_timeout: 9s }\n")
    );
    let require = auth("require");
    let both = context(&require, pem(&[&one, &two]), "");
    assert_eq!(both, context(&require, pem(&[&two, &one, &one]), ""));
    let others = [
        none,
        both,
        context(&auth("request"), pem(&[&one]), ""),
        context(&require, pem(&[&one]), ""),
        context(&require, pem(&[&two]), ""),
        context("", pem(&[&one]), "quic: { max_streams: 99 }\n"),
        context("", pem(&[&one]), "quic: { stream_window: 255KiB }\n"),
        context("", pem(&[&one]), "quic: { connection_window: 63MiB }\n"),
        context("", pem(&[&one]), "limits: { header_bytes: 31KiB }\n"),
        context("", pem(&[&one]), "websocket: off\n"),
    ];
    for (index, context) in others.iter().enumerate() {
        assert!(!others[..index].contains(context), "{index}");
    }
}

const PAIR: &str = "tls: { cert: cert.pem, key: key.pem }\n";

fn faults(tls: &str, files: &[(&str, Vec<u8>)]) -> Vec<String> {
    let found = build(tls, files, None).err().unwrap_or_default();
    found.iter().map(ToString::to_string).collect()
}

fn warnings(tls: &str, files: &[(&str, Vec<u8>)], now: u64) -> Vec<String> {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
    let setup = build(tls, files, Some(wall)).expect("legal");
    setup.warnings().iter().map(ToString::to_string).collect()
}

fn build(
    tls: &str,
    files: &[(&str, Vec<u8>)],
    wall: Option<SystemTime>,
) -> Result<Setup, Vec<Diagnostic>> {
    let text = format!(
        "listen: {{ address: '::', port: 443 }}\n{tls}\
         backends: [{{ id: a, address: 1.2.3.4:5 }}]\nbackend_tls: {{ verify: off }}\n"
    );
    let config = Config::parse("spooky.yaml", &text).expect("legal");
    let file = |(name, bytes): &(&str, Vec<u8>)| (PathBuf::from(name), Ok(bytes.clone()));
    let material = Material {
        files: files.iter().map(file).collect(),
        wall,
        ..Material::default()
    };
    Setup::build(config, &material)
}

/// A root, what it issued, and what that issued.
struct Chain {
    root: X509,
    inner: X509,
    leaf: X509,
    key: PKey<Private>,
}

fn chain() -> Chain {
    let (root_key, inner_key, key) = (ec_key(), ec_key(), ec_key());
    let root = certificate(&root_key, "root", &[], None);
    let inner = certificate(&inner_key, "inner", &[], Some((&root, &root_key)));
    let leaf = certificate(&key, "leaf", &["a.test"], Some((&inner, &inner_key)));
    Chain {
        root,
        inner,
        leaf,
        key,
    }
}

impl Chain {
    /// Bundles as tools make them: in no order, and with the root.
    fn bundle(&self, password: &str) -> Vec<u8> {
        let mut others = Stack::new().expect("made");
        others.push(self.root.clone()).expect("pushed");
        others.push(self.inner.clone()).expect("pushed");
        let mut builder = Pkcs12::builder();
        builder.ca(others);
        let bundle = builder.build(password, "", &self.key, &self.leaf);
        bundle.and_then(|bundle| bundle.to_der()).expect("made")
    }
}

fn certificate(
    key: &PKey<Private>,
    subject: &str,
    names: &[&str],
    issuer: Option<(&X509, &PKey<Private>)>,
) -> X509 {
    let time =
        |seconds: u64| Asn1Time::from_unix(seconds.try_into().expect("small")).expect("a time");
    let mut name = X509Name::builder().expect("made");
    name.append_entry_by_nid(Nid::COMMONNAME, subject)
        .expect("a name");
    let name = name.build();
    let mut builder = X509::builder().expect("made");
    let mut set = || -> Result<(), boring::error::ErrorStack> {
        builder.set_version(2)?;
        let serial = BigNum::from_u32(7)?.to_asn1_integer()?;
        builder.set_serial_number(&serial)?;
        builder.set_not_before(&time(NOW - HALF_YEAR))?;
        builder.set_not_after(&time(NOW + HALF_YEAR))?;
        builder.set_pubkey(key)?;
        builder.set_subject_name(&name)?;
        builder.set_issuer_name(issuer.map_or(&*name, |(issuer, _)| issuer.subject_name()))?;
        if names.is_empty() {
            let authority = BasicConstraints::new().critical().ca().build()?;
            builder.append_extension(&authority)?;
        } else {
            let mut san = SubjectAlternativeName::new();
            // Addresses are no names.
            san.ip("192.0.2.1");
            for name in names {
                san.dns(name);
            }
            let san = san.build(&builder.x509v3_context(None, None))?;
            builder.append_extension(&san)?;
        }
        builder.sign(issuer.map_or(key, |(_, key)| key), MessageDigest::sha256())
    };
    set().expect("legal");
    builder.build()
}

fn ec_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("known");
    PKey::from_ec_key(EcKey::generate(&group).expect("made")).expect("made")
}

/// What stands in a SEC1 key of P-256: a version, the key, its curve.
fn sec1_without_public_key(key: &EcKey<Private>) -> Vec<u8> {
    let number = key.private_key().to_vec();
    let number = [vec![0; 32 - number.len()], number].concat();
    let curve = b"\xa0\x0a\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    [&b"\x02\x01\x01\x04\x20"[..], &number, curve].concat()
}
