//! A certificate chain and the key that belongs to it.

use std::time::{SystemTime, UNIX_EPOCH};

use boring::asn1::Asn1Time;
use boring::pkey::{PKey, Private};
use boring::ssl::{SslContextBuilder, SslMethod};
use boring::x509::{X509, X509Ref};

use super::{TlsError, encoding};

/// A chain, leaf first, and the leaf's private key.
pub(crate) struct Identity {
    chain: Vec<X509>,
    key: PKey<Private>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("chain", &self.chain.len())
            .finish_non_exhaustive()
    }
}

/// Which of the two is wrong, and how.
#[derive(Debug)]
pub(crate) enum IdentityError {
    Chain(String),
    Key(String),
}

impl Identity {
    /// Reads a chain (PEM or DER) and a key (PKCS#8, PKCS#1 or SEC1, PEM or DER).
    pub(crate) fn from_pair(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain = encoding::certificates(chain).map_err(IdentityError::Chain)?;
        let key = encoding::private_key(key).map_err(IdentityError::Key)?;
        Self::new(chain, key)
    }

    /// Reads a PKCS#12 bundle.
    pub(crate) fn from_bundle(bytes: &[u8], password: Option<&str>) -> Result<Self, String> {
        let (chain, key) = encoding::bundle(bytes, password)?;
        Self::new(chain, key).map_err(|error| match error {
            IdentityError::Chain(text) | IdentityError::Key(text) => text,
        })
    }

    fn new(chain: Vec<X509>, key: PKey<Private>) -> Result<Self, IdentityError> {
        let leaf = chain
            .first()
            .ok_or_else(|| IdentityError::Chain("it holds no certificate".into()))?;
        let public = leaf.public_key().map_err(|e| {
            IdentityError::Chain(format!("the leaf's public key is not usable ({e})"))
        })?;
        if !public.public_eq(&key) {
            let owner = chain.iter().position(|certificate| {
                certificate
                    .public_key()
                    .is_ok_and(|public| public.public_eq(&key))
            });
            let text = match owner {
                Some(index) => format!(
                    "the key belongs to certificate {} of the chain, and the leaf has to stand first",
                    index + 1
                ),
                None => "the key does not belong to the leaf of the certificate chain".into(),
            };
            return Err(IdentityError::Key(text));
        }
        let identity = Identity { chain, key };
        identity.try_out().map_err(|e| {
            IdentityError::Chain(format!("TLS cannot use this certificate and key ({e})"))
        })?;
        Ok(identity)
    }

    /// Finds out whether BoringSSL takes it.
    fn try_out(&self) -> Result<(), TlsError> {
        self.install(&mut SslContextBuilder::new(SslMethod::tls())?)
    }

    pub(crate) fn install(&self, builder: &mut SslContextBuilder) -> Result<(), TlsError> {
        let (leaf, rest) = self.chain.split_first().ok_or("an empty chain")?;
        builder.set_certificate(leaf)?;
        for certificate in rest {
            builder.add_extra_chain_cert(certificate.clone())?;
        }
        builder.set_private_key(&self.key)?;
        builder.check_private_key()?;
        Ok(())
    }

    /// The host names and wildcards that the leaf is for. RFC 9525 section 6.3: only
    /// those among its alternative names; what its subject says is nobody's.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.chain.first().and_then(|leaf| leaf.subject_alt_names());
        let names = names.iter().flatten();
        names
            .filter_map(|name| name.dnsname())
            .map(str::to_owned)
            .collect()
    }

    /// What `wall` is too early or too late for, in words.
    pub(crate) fn out_of_date(&self, wall: SystemTime) -> Vec<String> {
        out_of_date(&self.chain, wall)
    }
}

/// What of `certificates` is not valid at `wall`, in words.
pub(crate) fn out_of_date(certificates: &[X509], wall: SystemTime) -> Vec<String> {
    let Some(now) = at(wall) else {
        return Vec::new();
    };
    let described = certificates.iter().enumerate().filter_map(|(index, one)| {
        let when = if *one.not_after() < now {
            format!("expired on {}", one.not_after())
        } else if *one.not_before() > now {
            format!("is not valid before {}", one.not_before())
        } else {
            return None;
        };
        let which = match (index, certificates.len()) {
            (_, 1) => "the certificate".to_owned(),
            (index, count) => format!("certificate {} of {count}", index + 1),
        };
        Some(format!("{which}{} {when}", of(one)))
    });
    described.collect()
}

/// `wall` as certificates tell time.
pub(super) fn at(wall: SystemTime) -> Option<Asn1Time> {
    let seconds = wall.duration_since(UNIX_EPOCH).ok()?.as_secs();
    Asn1Time::from_unix(seconds.try_into().ok()?).ok()
}

/// Whose it is, for a reader with many.
fn of(certificate: &X509Ref) -> String {
    let names = certificate.subject_alt_names();
    let name = names.iter().flatten().find_map(|name| name.dnsname());
    name.map_or_else(String::new, |name| format!(" of {name}"))
}
