//! Who we are to clients, and who they have to be.

use std::path::PathBuf;

use super::super::{ClientAuth, ClientAuthMode, Config, IdentitySource, SecretSource};
use super::{faults, meaning, parsed};

#[test]
fn identities_come_in_pairs_and_bundles() {
    let config = with(
        "  cert: a.pem
  key: a.key
  certificates:
    - { cert: b.der, key: b.key }
    - { pkcs12: c.p12, password: { file: c.pass } }
    - { pkcs12: d.p12, password: { env: D_PASS } }
    - { pkcs12: e.p12 }
",
    );
    let pair = |cert: &str, key: &str| IdentitySource::Pair {
        cert: cert.into(),
        key: key.into(),
    };
    let bundle = |pkcs12: &str, password| IdentitySource::Bundle {
        pkcs12: pkcs12.into(),
        password,
    };
    assert_eq!(config.tls.identity, pair("a.pem", "a.key"));
    assert_eq!(
        config.tls.certificates,
        [
            pair("b.der", "b.key"),
            bundle("c.p12", Some(SecretSource::File("c.pass".into()))),
            bundle("d.p12", Some(SecretSource::Env("D_PASS".into()))),
            bundle("e.p12", None),
        ]
    );
    let files = [
        "a.pem", "a.key", "b.der", "b.key", "c.p12", "d.p12", "e.p12", "c.pass",
    ];
    assert_eq!(config.files(), files.map(PathBuf::from));
    assert_eq!(config.env_vars(), ["D_PASS"]);
    printed_again(&config);
    let bundled = with("  pkcs12: a.p12\n  password: { file: a.pass }\n");
    assert_eq!(bundled.files(), ["a.p12", "a.pass"].map(PathBuf::from));
    printed_again(&bundled);
}

#[test]
fn what_belongs_to_a_bundle_does_not_stand_beside_a_pair() {
    assert_eq!(
        without("  pkcs12: a.p12\n  key: a.key\n"),
        [
            "3:11: tls.pkcs12: a pkcs12 bundle holds certificate and key: \
             give either the bundle, or cert and key"
        ]
    );
    assert_eq!(
        without("  cert: a.pem\n  key: a.key\n  password: { env: A }\n"),
        ["5:3: tls.password: a password belongs to a pkcs12 bundle; \
             a key file is read without one"]
    );
    assert_eq!(
        without("  pkcs12: a.p12\n  certificates:\n    - { cert: b.pem }\n    - 4\n"),
        [
            "5:7: tls.certificates[0].key: the required key 'key' is missing",
            "6:7: tls.certificates[1]: expected keys (cert, key, pkcs12, password), found '4'",
        ]
    );
}

#[test]
fn a_password_does_not_stand_in_the_configuration() {
    assert_eq!(
        without("  pkcs12: a.p12\n  password: hunter2\n"),
        [
            "4:13: tls.password: expected { file: PATH } or { env: NAME }, found text: \
             a secret does not stand in the configuration, which is printed and passed around"
        ]
    );
}

#[test]
fn certificates_are_a_bounded_list() {
    assert!(
        with("  pkcs12: a\n  certificates: []\n")
            .tls
            .certificates
            .is_empty()
    );
    let many = format!(
        "  pkcs12: a\n  certificates: [{}]\n",
        "{ pkcs12: b }, ".repeat(1001)
    );
    assert_eq!(
        without(&many),
        ["4:3: tls.certificates: the list has 1001 items; 1000 at most"]
    );
    assert_eq!(
        without("  pkcs12: a\n  certificates: b.p12\n"),
        [
            "4:17: tls.certificates: expected a list, each item beginning with '-' and having \
             cert, key, pkcs12, password, found 'b.p12'"
        ]
    );
}

#[test]
fn clients_are_asked_for_certificates_of_somebody() {
    for (word, mode) in [
        ("none", ClientAuthMode::None),
        ("request", ClientAuthMode::Request),
        ("require", ClientAuthMode::Require),
    ] {
        let config = with(&format!(
            "  pkcs12: a\n  client_auth: {{ mode: {word}, ca: ca.pem }}\n"
        ));
        let ca = Some(PathBuf::from("ca.pem"));
        assert_eq!(config.tls.client_auth, ClientAuth { mode, ca });
        assert_eq!(config.files(), ["a", "ca.pem"].map(PathBuf::from));
        printed_again(&config);
    }
    let nobody = with("  pkcs12: a\n  client_auth: { mode: none }\n");
    assert_eq!(nobody.tls.client_auth, ClientAuth::default());
    assert_eq!(with("  pkcs12: a\n").tls.client_auth, ClientAuth::default());
    assert_eq!(
        without("  pkcs12: a\n  client_auth: { mode: require }\n"),
        [
            "4:24: tls.client_auth.mode: clients are asked for certificates, and 'ca' has to say \
             which are good: the file of the roots they come from"
        ]
    );
    // A section with a CA alone reads as if it protected something.
    assert_eq!(
        without("  pkcs12: a\n  client_auth: { ca: ca.pem }\n"),
        ["4:3: tls.client_auth.mode: the required key 'mode' is missing"]
    );
    assert_eq!(
        without("  pkcs12: a\n  client_auth: { mode: requires, ca: ca.pem }\n"),
        [
            "4:24: tls.client_auth.mode: expected one of none, request, require, \
             found 'requires'; did you mean 'require'?"
        ]
    );
}

fn text(tls: &str) -> String {
    format!(
        "listen: {{ address: '::', port: 1 }}\ntls:\n{tls}\
         backends: [{{ id: a, address: 1.2.3.4:5 }}]\n"
    )
}

fn with(tls: &str) -> Config {
    parsed(&text(tls))
}

fn without(tls: &str) -> Vec<String> {
    faults(&text(tls))
}

fn printed_again(config: &Config) {
    let printed = config.to_yaml();
    assert_eq!(meaning(config), meaning(&parsed(&printed)), "{printed}");
}
