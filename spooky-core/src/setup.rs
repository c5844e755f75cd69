//! A configuration with everything that it names, read and built: all that can
//! fail has not failed.

use std::path::Path;
use std::sync::Arc;

use crate::config::{ClientAuth, Config, Diagnostic, Sample, SecretSource};
use crate::limits;
use crate::material::Material;
use crate::secrets::Secrets;
use crate::tls::{self, Clients, Identities, Tickets, TlsError, Trust};

/// A configuration, built. Shared by all workers.
#[derive(Debug)]
pub struct Setup {
    config: Config,
    secrets: Option<Secrets>,
    identities: Identities,
    clients: Clients,
    trust: Trust,
    warnings: Vec<Diagnostic>,
}

impl Setup {
    /// Builds everything `config` describes from `material`.
    ///
    /// # Errors
    /// Every reason why it can't be run, each with its place in the configuration.
    pub fn build(config: Config, material: &Material) -> Result<Setup, Vec<Diagnostic>> {
        let mut diagnostics = Vec::new();
        let mut warnings = Vec::new();
        let identities = Identities::load(&config, material, &mut warnings)
            .map_err(|found| diagnostics.extend(found))
            .ok();
        let clients = clients(&config, material, &mut warnings)
            .map_err(|d| diagnostics.push(d))
            .ok();
        let trust = trust(&config, material)
            .map_err(|d| diagnostics.push(d))
            .ok();
        warnings.extend(tapped(&config));
        let secrets = secrets(&config, material)
            .map_err(|found| diagnostics.extend(found))
            .ok();
        let (Some(identities), Some(clients), Some(trust), Some(secrets)) =
            (identities, clients, trust, secrets)
        else {
            return Err(diagnostics);
        };
        let setup = Setup {
            config,
            secrets,
            identities,
            clients,
            trust,
            warnings,
        };
        // Each worker makes its own contexts from the same parts; here is where it may fail.
        let tickets = Arc::new(Tickets::new(Secrets::new(&[], &[]), "", [0; 16]));
        if let Err(error) = setup.server_config(&tickets) {
            diagnostics.push(
                setup
                    .config
                    .diagnostic("tls", format!("TLS refuses this identity: {error}")),
            );
        }
        if let Err(error) = setup.client_config() {
            diagnostics.push(setup.config.diagnostic(
                "backend_tls",
                format!("TLS refuses these settings: {error}"),
            ));
        }
        if diagnostics.is_empty() {
            Ok(setup)
        } else {
            Err(diagnostics)
        }
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The secret that the configuration names, and earlier ones.
    pub(crate) fn secrets(&self) -> Option<&Secrets> {
        self.secrets.as_ref()
    }

    /// What can be run and is probably not what was meant, such as a certificate whose
    /// time is over. For whoever started it to tell.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    #[cfg(test)]
    pub(crate) fn clients(&self) -> &Clients {
        &self.clients
    }

    pub(crate) fn server_config(&self, tickets: &Arc<Tickets>) -> Result<quiche::Config, TlsError> {
        tls::server_config(&self.identities, &self.clients, &self.config, tickets)
            .map(|quic| self.log_keys(quic))
    }

    pub(crate) fn client_config(&self) -> Result<quiche::Config, TlsError> {
        tls::client_config(&self.trust, &self.config.upstream.quic).map(|quic| self.log_keys(quic))
    }

    /// Has connections tell their secrets, if the configuration wants them.
    fn log_keys(&self, mut quic: quiche::Config) -> quiche::Config {
        if self.config.log.tls_keys.is_some() {
            quic.log_keys();
        }
        quic
    }
}

fn clients(
    config: &Config,
    material: &Material,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Clients, Diagnostic> {
    let ClientAuth { mode, ca } = &config.tls.client_auth;
    let path = "tls.client_auth.ca";
    let bytes = ca.as_deref().map(|ca| file(config, material, path, ca));
    let shown = || ca.as_deref().unwrap_or(Path::new("")).display();
    let clients = Clients::new(*mode, bytes.transpose()?)
        .map_err(|text| config.diagnostic(path, format!("{}: {text}", shown())))?;
    let old = material
        .wall
        .map(|wall| tls::out_of_date(&clients.roots, wall));
    warnings.extend(old.into_iter().flatten().map(|text| {
        let message = format!("{}: {text}; no client's certificate is good by it", shown());
        config.diagnostic(path, message)
    }));
    Ok(clients)
}

/// What whoever has secrets or traces written must know.
fn tapped(config: &Config) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    if let Some(path) = &config.log.tls_keys {
        let text = format!(
            "secrets of every connection are written: whoever has {} and a capture of the \
             network reads all that clients and backends say. Turn this off when you are \
             done, and delete the file",
            path.display()
        );
        warnings.push(config.diagnostic("log.tls_keys", text));
    }
    if let Some(qlog) = &config.log.qlog {
        let share = match qlog.sample.per_million() {
            Sample::ALL => "all".to_owned(),
            count => format!("{count} of a million"),
        };
        let text = format!(
            "traces of {share} connections are written into {}, {} MiB at most",
            qlog.dir.display(),
            limits::QLOG_FOLDER_BYTES >> 20,
        );
        warnings.push(config.diagnostic("log.qlog", text));
    }
    warnings
}

fn trust(config: &Config, material: &Material) -> Result<Trust, Diagnostic> {
    let tls = &config.upstream.backend_tls;
    if !tls.verify {
        return Ok(Trust::Anything);
    }
    let Some(ca) = &tls.ca else {
        return Trust::from_system(&material.system_roots)
            .map_err(|text| config.diagnostic("backend_tls", text));
    };
    let pem = file(config, material, "backend_tls.ca", ca)?;
    Trust::from_pem(pem)
        .map_err(|text| config.diagnostic("backend_tls.ca", format!("{}: {text}", ca.display())))
}

/// What the configuration says of secrets: none, or all of them readable and long enough.
fn secrets(config: &Config, material: &Material) -> Result<Option<Secrets>, Vec<Diagnostic>> {
    let mut faults = Vec::new();
    let mut read = |key: &str, source: &SecretSource| {
        let secret = material.secret(source).map_err(|text| text.to_owned());
        match secret.and_then(|secret| Secrets::check(secret).map_err(|e| format!("{source}: {e}")))
        {
            Ok(secret) => Some(secret.to_vec()),
            Err(text) => {
                faults.push(config.diagnostic(key, text));
                None
            }
        }
    };
    let current = config.secret.as_ref().map(|source| read("secret", source));
    let previous: Vec<_> = (config.previous_secrets.iter().enumerate())
        .filter_map(|(n, source)| read(&format!("previous_secrets[{n}]"), source))
        .collect();
    match current.flatten() {
        _ if !faults.is_empty() => Err(faults),
        current => Ok(current.map(|current| Secrets::new(&current, &previous))),
    }
}

fn file<'m>(
    config: &Config,
    material: &'m Material,
    key: &str,
    path: &Path,
) -> Result<&'m [u8], Diagnostic> {
    material
        .file(path)
        .map_err(|message| config.diagnostic(key, message))
}

#[cfg(test)]
mod tests {
    use boring::asn1::Asn1Time;
    use boring::ec::{EcGroup, EcKey};
    use boring::hash::MessageDigest;
    use boring::nid::Nid;
    use boring::pkey::{PKey, Private};
    use boring::symm::Cipher;
    use boring::x509::X509;
    use std::path::PathBuf;

    use super::*;

    /// The least there must be, but for what is said of backends' certificates.
    const LEAST: &str = "\
listen: { address: 0.0.0.0, port: 443 }
tls: { cert: cert.pem, key: key.pem }
backends:
  - { id: web1, address: 192.168.1.10:443 }
";
    const UNVERIFIED: &str = "backend_tls: { verify: false }\n";
    const NAMED_CA: &str = "backend_tls: { ca: ca.pem }\n";

    #[test]
    fn whatever_a_configuration_names_is_built() {
        let (cert, key) = identity();
        let (ca, _) = identity();
        let chain = [pem(&cert), pem(&ca)].concat();
        let files = [
            ("cert.pem", chain),
            ("key.pem", private(&key)),
            ("ca.pem", pem(&ca)),
        ];
        assert_eq!(built(NAMED_CA, &files, &[]), [""; 0]);
        assert_eq!(built(UNVERIFIED, &files[..2], &[]), [""; 0]);
        let roots = [b"a bundle's odd one".to_vec(), ca.to_der().unwrap()];
        assert_eq!(built("", &files[..2], &roots), [""; 0]);
    }

    #[test]
    fn secrets_and_traces_that_are_written_are_told_at_their_keys() {
        let warnings = |log: &str| {
            let text = format!("{LEAST}{UNVERIFIED}log: {{ {log} }}\n");
            let config = Config::parse("spooky.yaml", &text).unwrap();
            let told = tapped(&config);
            told.iter().map(Diagnostic::to_string).collect::<Vec<_>>()
        };
        assert_eq!(warnings(""), [""; 0]);
        let keys = warnings("tls_keys: /k");
        assert_eq!(keys.len(), 1);
        let start = "spooky.yaml:6:18: log.tls_keys: secrets of every connection are written: \
                     whoever has /k and";
        assert!(keys[0].starts_with(start), "{}", keys[0]);
        let traces = "traces of 1000 of a million connections are written into q, 1024 MiB at most";
        assert_eq!(
            warnings("qlog: { dir: q }"),
            [format!("spooky.yaml:6:8: log.qlog: {traces}")]
        );
        let all = warnings("qlog: { dir: q, sample: 1 }");
        assert!(all[0].contains("traces of all connections"), "{}", all[0]);
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let config = Config::parse("spooky.yaml", &format!("{LEAST}{NAMED_CA}")).unwrap();
        let gone = Err("no such file".to_owned());
        let material = Material {
            files: [("cert.pem".into(), gone)].into(),
            ..Material::default()
        };
        assert_eq!(
            faults(Setup::build(config, &material)),
            [
                "spooky.yaml:2:14: tls.cert: cert.pem: no such file",
                "spooky.yaml:2:29: tls.key: key.pem: was not read",
                "spooky.yaml:5:20: backend_tls.ca: ca.pem: was not read",
            ]
        );
    }

    #[test]
    fn a_chain_that_is_none_is_refused_with_what_was_found_instead() {
        let (cert, key) = identity();
        let refused = |chain: Vec<u8>| {
            let files = [("cert.pem", chain), ("key.pem", private(&key))];
            only(built(UNVERIFIED, &files, &[]))
        };
        let at = "spooky.yaml:2:14: tls.cert: cert.pem: ";
        assert_eq!(
            refused(b"hello".to_vec()),
            format!(
                "{at}it has no line beginning with -----BEGIN and is no DER certificate; \
                 certificates as PEM or DER, leaf first, are expected"
            )
        );
        assert_eq!(
            refused(private(&key)),
            format!(
                "{at}no CERTIFICATE block in it; it holds a private key; \
                 a chain, leaf first, is expected"
            )
        );
        let garbled = String::from_utf8(pem(&cert)).unwrap().replace("MI", "!!");
        let garbled = refused(garbled.into_bytes());
        assert!(
            garbled.starts_with(&format!("{at}not a PEM certificate chain (")),
            "{garbled}"
        );
    }

    #[test]
    fn a_key_that_opens_nothing_is_refused_with_the_reason() {
        let (cert, key) = identity();
        let (_, other) = identity();
        let refused = |key: Vec<u8>| {
            let files = [("cert.pem", pem(&cert)), ("key.pem", key)];
            only(built(UNVERIFIED, &files, &[]))
        };
        let locked = key
            .private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"open sesame")
            .unwrap();
        let at = "spooky.yaml:2:29: tls.key: key.pem: ";
        assert_eq!(
            refused(locked),
            format!(
                "{at}the key is encrypted; give it without a password, \
                 or as a pkcs12 bundle with one"
            )
        );
        assert_eq!(
            refused(pem(&cert)),
            format!(
                "{at}no usable private key in it; it holds a certificate; \
                 PKCS#8, PKCS#1 or SEC1, as PEM or DER, is expected"
            )
        );
        assert_eq!(
            refused(private(&other)),
            format!("{at}the key does not belong to the leaf of the certificate chain")
        );
    }

    #[test]
    fn a_secret_that_is_easily_found_is_refused() {
        let refused = |secret: &str, previous: &str| {
            let keys = "secret: { env: NOW }\nprevious_secrets: [{ file: old }]\n";
            let config = Config::parse("spooky.yaml", &format!("{LEAST}{UNVERIFIED}{keys}"));
            let (cert, key) = identity();
            let files = [
                ("cert.pem", pem(&cert)),
                ("key.pem", private(&key)),
                ("old", previous.into()),
            ];
            let mut material = material(&files, &[]);
            material.env.insert("NOW".into(), secret.into());
            faults(Setup::build(config.unwrap(), &material))
        };
        let good = "n7Yx0q1Jz5m8Qk3Tt9Lw2Rb6Vc4Hd0Sf";
        let make = "make one with: head -c 32 /dev/urandom | base64";
        assert_eq!(refused(good, good), [""; 0]);
        assert_eq!(
            refused(&good[1..], &format!("{good}\n")),
            [format!(
                "spooky.yaml:6:1: secret: the environment variable NOW: has 31 bytes, and a \
                 secret has 32 at least; {make}"
            )]
        );
        assert_eq!(
            refused(&"0".repeat(64), "short"),
            [
                format!(
                    "spooky.yaml:6:1: secret: the environment variable NOW: is one character \
                     again and again; {make}"
                ),
                format!(
                    "spooky.yaml:7:1: previous_secrets[0]: old: has 5 bytes, and a secret has \
                     32 at least; {make}"
                ),
            ]
        );
    }

    #[test]
    fn trust_in_nobody_is_refused() {
        let (cert, key) = identity();
        let refused = |backend_tls: &str, ca: &[u8], roots: &[Vec<u8>]| {
            let files = [
                ("cert.pem", pem(&cert)),
                ("key.pem", private(&key)),
                ("ca.pem", ca.to_vec()),
            ];
            only(built(backend_tls, &files, roots))
        };
        let at = "spooky.yaml:5:20: backend_tls.ca: ca.pem: ";
        assert_eq!(
            refused(NAMED_CA, b"", &[]),
            format!("{at}no CERTIFICATE block in it; PEM is expected")
        );
        let garbled = String::from_utf8(pem(&cert)).unwrap().replace("MI", "!!");
        let garbled = refused(NAMED_CA, garbled.as_bytes(), &[]);
        assert!(
            garbled.starts_with(&format!("{at}not PEM certificates (")),
            "{garbled}"
        );
        let nobody = "spooky.yaml:1:1: backend_tls: the system has no trusted root certificates: install \
                      ca-certificates, or set backend_tls.ca to the CA of your backends";
        assert_eq!(refused("", b"", &[]), nobody);
        assert_eq!(refused("", b"", &[b"no DER".to_vec()]), nobody);
    }

    #[test]
    fn a_setup_in_print_counts_what_it_holds_and_shows_none_of_it() {
        let (cert, key) = identity();
        let print = |backend_tls: &str| {
            let config = Config::parse("spooky.yaml", &format!("{LEAST}{backend_tls}")).unwrap();
            let files = [
                ("cert.pem", pem(&cert)),
                ("key.pem", private(&key)),
                ("ca.pem", pem(&cert)),
            ];
            format!(
                "{:?}",
                Setup::build(config, &material(&files, &[])).unwrap()
            )
        };
        let verified = print(NAMED_CA);
        let end = "identities: Identities([Identity { chain: 1, .. }]), \
                   clients: Clients { mode: None, roots: 0 }, trust: Roots(1), warnings: [] }";
        assert!(verified.ends_with(end), "{verified}");
        let unverified = print(UNVERIFIED);
        assert!(
            unverified.ends_with("trust: Anything, warnings: [] }"),
            "{unverified}"
        );
    }

    /// What stands in the way of [`LEAST`] with `backend_tls`, given these bytes.
    fn built(backend_tls: &str, files: &[(&str, Vec<u8>)], roots: &[Vec<u8>]) -> Vec<String> {
        let config = Config::parse("spooky.yaml", &format!("{LEAST}{backend_tls}")).unwrap();
        faults(Setup::build(config, &material(files, roots)))
    }

    fn material(files: &[(&str, Vec<u8>)], roots: &[Vec<u8>]) -> Material {
        let file = |(name, bytes): &(&str, Vec<u8>)| (PathBuf::from(name), Ok(bytes.clone()));
        Material {
            files: files.iter().map(file).collect(),
            system_roots: roots.to_vec(),
            ..Material::default()
        }
    }

    fn faults(built: Result<Setup, Vec<Diagnostic>>) -> Vec<String> {
        let found = built.err().unwrap_or_default();
        found.iter().map(Diagnostic::to_string).collect()
    }

    fn only(mut faults: Vec<String>) -> String {
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults.remove(0)
    }

    /// A self-signed certificate and its key.
    fn identity() -> (X509, PKey<Private>) {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder
            .set_not_before(&Asn1Time::days_from_now(0).unwrap())
            .unwrap();
        builder
            .set_not_after(&Asn1Time::days_from_now(1).unwrap())
            .unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        (builder.build(), key)
    }

    fn pem(cert: &X509) -> Vec<u8> {
        cert.to_pem().unwrap()
    }

    fn private(key: &PKey<Private>) -> Vec<u8> {
        key.private_key_to_pem_pkcs8().unwrap()
    }
}
