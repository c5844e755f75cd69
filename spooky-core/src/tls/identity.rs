//! A certificate chain and the key that belongs to it.

use boring::pkey::{PKey, Private};
use boring::ssl::SslContextBuilder;
use boring::x509::X509;

use super::TlsError;

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

/// Which of the two files is wrong, and how.
#[derive(Debug)]
pub(crate) enum IdentityError {
    Chain(String),
    Key(String),
}

impl Identity {
    /// Reads a PEM chain and a PEM key (PKCS#8, PKCS#1 or SEC1).
    pub(crate) fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let certificates = X509::stack_from_pem(chain)
            .map_err(|e| IdentityError::Chain(format!("not a PEM certificate chain ({e})")))?;
        let Some(leaf) = certificates.first() else {
            let found = if contains(chain, b"PRIVATE KEY") {
                "; it holds a private key"
            } else {
                ""
            };
            return Err(IdentityError::Chain(format!(
                "no CERTIFICATE block in it{found}; PEM, leaf first, is expected"
            )));
        };
        if contains(key, b"ENCRYPTED") {
            return Err(IdentityError::Key(
                "the key is encrypted; give it without a password".into(),
            ));
        }
        let private = PKey::private_key_from_pem(key).map_err(|_| {
            IdentityError::Key(
                "no usable private key in it; PEM as PKCS#8, PKCS#1 or SEC1 is expected".into(),
            )
        })?;
        let public = leaf.public_key().map_err(|e| {
            IdentityError::Chain(format!("the leaf's public key is not usable ({e})"))
        })?;
        if !public.public_eq(&private) {
            return Err(IdentityError::Key(
                "the key does not belong to the leaf of the certificate chain".into(),
            ));
        }
        Ok(Identity {
            chain: certificates,
            key: private,
        })
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
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
