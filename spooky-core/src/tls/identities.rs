//! Everyone we may be to clients, and which of them a client meets.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use boring::ssl::{NameType, SelectCertError, SslContext, SslContextBuilder};

use super::{Identity, IdentityError, Tickets, early};
use crate::config::{Config, Diagnostic, IdentitySource, SecretSource};
use crate::material::Material;
use crate::names::Names;

/// At least one identity; the first is for clients that no other fits.
#[derive(Debug)]
pub(crate) struct Identities(Vec<Identity>);

impl Identities {
    /// Reads what `tls` names. What works, and probably not as meant, goes to `warnings`.
    pub(crate) fn load(
        config: &Config,
        material: &Material,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut identities = Vec::new();
        let mut faults = Vec::new();
        for (path, source) in config.tls.identities() {
            let loader = Loader {
                config,
                material,
                path,
            };
            match loader.identity(source) {
                Ok(identity) => {
                    if let Some(wall) = material.wall {
                        warnings.extend(loader.out_of_date(source, &identity, wall));
                    }
                    identities.push(identity);
                }
                Err(found) => faults.extend(found),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let identities = Identities(identities);
        let (_, useless) = identities.table();
        warnings.extend(useless.into_iter().map(|(index, why)| {
            config.diagnostic(&format!("tls.certificates[{}]", index - 1), why)
        }));
        Ok(identities)
    }

    /// The first, and the others.
    pub(crate) fn split(&self) -> (&Identity, &[Identity]) {
        let (first, others) = self.0.split_first().expect("there is at least one");
        (first, others)
    }

    /// Which identity each name leads to, and those that none does.
    fn table(&self) -> (Names<usize>, Vec<(usize, &'static str)>) {
        let mut table = Names::default();
        let mut useless = Vec::new();
        for (index, identity) in self.0.iter().enumerate() {
            let names = identity.names();
            let mut added = false;
            for name in &names {
                added |= table.add(name, index);
            }
            if index > 0 && !added {
                useless.push((
                    index,
                    if names.is_empty() {
                        "this certificate has no DNS name among its subjectAltNames, so it is \
                         never chosen"
                    } else {
                        "every name of this certificate is that of an earlier one, so it is \
                         never chosen"
                    },
                ));
            }
        }
        (table, useless)
    }

    /// Makes the context that `builder` builds change places with the one of `others`
    /// whose certificate is for the name that a client asks for. With `noting`, the
    /// ClientHello is also taken down for [`early::flight`]: there is one place for both.
    pub(crate) fn choose(
        &self,
        builder: &mut SslContextBuilder,
        others: Vec<SslContext>,
        noting: Option<Arc<Tickets>>,
    ) {
        if others.is_empty() && noting.is_none() {
            return;
        }
        let (table, _) = self.table();
        // RFC 6066 section 3: a server that does not know a name takes "one of two
        // actions": it aborts, or goes on. Clients that come by address send none, and
        // those that do judge for themselves what the first certificate is worth.
        builder.set_select_certificate_callback(move |mut hello| {
            if let Some(tickets) = &noting {
                early::note(&mut hello, tickets);
            }
            let chosen = hello
                .servername(NameType::HOST_NAME)
                .and_then(|name| table.find(name))
                .and_then(|index| others.get(index.checked_sub(1)?));
            match chosen {
                // Counts references; the certificates are not copied.
                Some(context) => hello
                    .ssl_mut()
                    .set_ssl_context(context)
                    .map_err(|_| SelectCertError::ERROR),
                None => Ok(()),
            }
        });
    }
}

/// Reads one identity, which stands in the configuration at `path`.
struct Loader<'a> {
    config: &'a Config,
    material: &'a Material,
    path: String,
}

impl Loader<'_> {
    fn identity(&self, source: &IdentitySource) -> Result<Identity, Vec<Diagnostic>> {
        match source {
            IdentitySource::Pair { cert, key } => self.pair(cert, key),
            IdentitySource::Bundle { pkcs12, password } => self
                .bundle(pkcs12, password.as_ref())
                .map_err(|fault| vec![fault]),
        }
    }

    fn pair(&self, cert: &Path, key: &Path) -> Result<Identity, Vec<Diagnostic>> {
        let chain = self.file("cert", cert);
        let private = self.file("key", key);
        let (chain, private) = match (chain, private) {
            (Ok(chain), Ok(private)) => (chain, private),
            (chain, private) => {
                return Err(chain.err().into_iter().chain(private.err()).collect());
            }
        };
        Identity::from_pair(chain, private).map_err(|error| {
            let (name, file, text) = match error {
                IdentityError::Chain(text) => ("cert", cert, text),
                IdentityError::Key(text) => ("key", key, text),
            };
            vec![self.fault(name, format!("{}: {text}", file.display()))]
        })
    }

    fn bundle(&self, file: &Path, password: Option<&SecretSource>) -> Result<Identity, Diagnostic> {
        let bytes = self.file("pkcs12", file)?;
        let password = password.map(|source| self.password(source)).transpose()?;
        Identity::from_bundle(bytes, password)
            .map_err(|text| self.fault("pkcs12", format!("{}: {text}", file.display())))
    }

    fn password(&self, source: &SecretSource) -> Result<&str, Diagnostic> {
        let bytes = self.material.secret(source);
        let bytes = bytes.map_err(|text| self.fault("password", text))?;
        // RFC 7292 appendix B.1: a password is a string of characters ended by a NUL.
        std::str::from_utf8(bytes)
            .ok()
            .filter(|text| !text.contains('\0'))
            .ok_or_else(|| self.fault("password", format!("{source}: not a line of UTF-8 text")))
    }

    fn out_of_date(
        &self,
        source: &IdentitySource,
        identity: &Identity,
        wall: SystemTime,
    ) -> Vec<Diagnostic> {
        let (name, file) = match source {
            IdentitySource::Pair { cert, .. } => ("cert", cert),
            IdentitySource::Bundle { pkcs12, .. } => ("pkcs12", pkcs12),
        };
        let texts = identity.out_of_date(wall).into_iter();
        texts
            .map(|text| {
                let message = format!("{}: {text}; clients will refuse it", file.display());
                self.fault(name, message)
            })
            .collect()
    }

    fn file(&self, key: &str, path: &Path) -> Result<&[u8], Diagnostic> {
        let bytes = self.material.file(path);
        bytes.map_err(|message| self.fault(key, message))
    }

    fn fault(&self, key: &str, message: String) -> Diagnostic {
        self.config
            .diagnostic(&format!("{}.{key}", self.path), message)
    }
}
