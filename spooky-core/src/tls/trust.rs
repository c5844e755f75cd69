//! Which certificates a backend may show.

use boring::x509::X509;
use boring::x509::store::{X509Store, X509StoreBuilder};

use super::TlsError;

/// Roots to verify backends against, or the decision not to.
pub(crate) enum Trust {
    /// Any certificate is good.
    Anything,
    /// It must chain to one of these.
    Roots(Vec<X509>),
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trust::Anything => f.write_str("Anything"),
            Trust::Roots(roots) => write!(f, "Roots({})", roots.len()),
        }
    }
}

impl Trust {
    /// Reads PEM roots; at least one.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let roots = X509::stack_from_pem(pem).map_err(|e| format!("not PEM certificates ({e})"))?;
        if roots.is_empty() {
            return Err("no CERTIFICATE block in it; PEM is expected".into());
        }
        Ok(Trust::Roots(roots))
    }

    /// Takes the system's roots as DER; what BoringSSL can't read is left out, as
    /// old bundles hold such. `Err` if nothing is left.
    pub(crate) fn from_system(ders: &[Vec<u8>]) -> Result<Self, String> {
        let roots: Vec<X509> = ders
            .iter()
            .filter_map(|der| X509::from_der(der).ok())
            .collect();
        if roots.is_empty() {
            return Err("the system has no trusted root certificates: install ca-certificates, or set backend_tls.ca to \
                        the CA of your backends"
                .into());
        }
        Ok(Trust::Roots(roots))
    }

    /// A store for one TLS context, or `None` if nothing is verified.
    pub(crate) fn store(&self) -> Result<Option<X509Store>, TlsError> {
        let Trust::Roots(roots) = self else {
            return Ok(None);
        };
        let mut builder = X509StoreBuilder::new()?;
        for root in roots {
            builder.add_cert(root)?;
        }
        Ok(Some(builder.build()))
    }
}
