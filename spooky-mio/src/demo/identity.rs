//! Certificates made on the spot: an authority, and leaves it signs.
//!
//! For demonstrations and tests. The authority's key lives only as long as the
//! value; everything is ECDSA on P-256.

use std::path::Path;
use std::{fs, io};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// A certificate authority of our own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate chain with its key, in PEM.
#[derive(Clone)]
pub struct Identity {
    /// The chain, leaf first.
    pub cert: String,
    /// The key, PKCS#8.
    pub key: String,
}

impl Authority {
    /// A new authority with a key nobody has seen.
    pub fn new(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    /// The authority's certificate: what a client must trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A server's identity for `names`, which are DNS names or IP addresses.
    pub fn issue(&self, names: &[&str]) -> Result<Identity, rcgen::Error> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let common_name = names.first().cloned().unwrap_or_default();
        let mut params = CertificateParams::new(names)?;
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            cert: cert.pem(),
            key: key.serialize_pem(),
        })
    }

    /// An identity for this machine under its usual names.
    pub fn issue_local(&self) -> Result<Identity, rcgen::Error> {
        self.issue(&["localhost", "127.0.0.1", "::1"])
    }
}

impl Identity {
    /// Writes `NAME.pem` and `NAME.key` into `dir`, the key for the owner alone.
    pub fn write(&self, dir: &Path, name: &str) -> io::Result<()> {
        fs::write(dir.join(format!("{name}.pem")), &self.cert)?;
        write_private(&dir.join(format!("{name}.key")), &self.key)
    }
}

#[cfg(unix)]
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?
        .write_all(text.as_bytes())
}

#[cfg(not(unix))]
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use boring::pkey::PKey;
    use boring::stack::Stack;
    use boring::x509::store::X509StoreBuilder;
    use boring::x509::{X509, X509StoreContext};

    use super::*;

    #[test]
    fn a_leaf_is_trusted_by_its_authority_alone() {
        let (ours, theirs) = (
            Authority::new("ours").unwrap(),
            Authority::new("x").unwrap(),
        );
        let leaf = ours.issue_local().unwrap();
        assert!(verifies(&leaf, ours.pem()));
        assert!(!verifies(&leaf, theirs.pem()));
    }

    #[test]
    fn the_key_belongs_to_the_leaf() {
        let leaf = Authority::new("ours").unwrap().issue_local().unwrap();
        let key = PKey::private_key_from_pem(leaf.key.as_bytes()).unwrap();
        let cert = X509::from_pem(leaf.cert.as_bytes()).unwrap();
        assert!(cert.public_key().unwrap().public_eq(&key));
    }

    fn verifies(leaf: &Identity, ca: &str) -> bool {
        let mut store = X509StoreBuilder::new().unwrap();
        store
            .add_cert(X509::from_pem(ca.as_bytes()).unwrap())
            .unwrap();
        let cert = X509::from_pem(leaf.cert.as_bytes()).unwrap();
        let chain = Stack::new().unwrap();
        X509StoreContext::new()
            .unwrap()
            .init(&store.build(), &cert, &chain, |context| {
                context.verify_cert()
            })
            .unwrap()
    }
}
