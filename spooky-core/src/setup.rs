//! A configuration with everything that it names, read and built: all that can
//! fail has not failed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::{Config, Diagnostic};
use crate::tls::{self, Identity, IdentityError, TlsError, Trust};

/// The bytes of everything a configuration names. The driver reads them: the
/// core opens no file.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// Every path of [`Config::files`], with its bytes or why they can't be read.
    pub files: BTreeMap<PathBuf, Result<Vec<u8>, String>>,
    /// The system's trusted roots as DER, if [`Config::needs_system_roots`].
    pub system_roots: Vec<Vec<u8>>,
}

/// A configuration, built. Shared by all workers.
#[derive(Debug)]
pub struct Setup {
    config: Config,
    identity: Identity,
    trust: Trust,
}

impl Setup {
    /// Builds everything `config` describes from `material`.
    ///
    /// # Errors
    /// Every reason why it can't be run, each with its place in the configuration.
    pub fn build(config: Config, material: &Material) -> Result<Setup, Vec<Diagnostic>> {
        let mut diagnostics = Vec::new();
        let identity = match identity(&config, material) {
            Ok(identity) => Some(identity),
            Err(found) => {
                diagnostics.extend(found);
                None
            }
        };
        let trust = trust(&config, material)
            .map_err(|d| diagnostics.push(d))
            .ok();
        let (Some(identity), Some(trust)) = (identity, trust) else {
            return Err(diagnostics);
        };
        let setup = Setup {
            config,
            identity,
            trust,
        };
        // Each worker makes its own contexts from the same parts; here is where it may fail.
        if let Err(error) = setup.server_config() {
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

    pub(crate) fn server_config(&self) -> Result<quiche::Config, TlsError> {
        tls::server_config(&self.identity, &self.config.quic)
    }

    pub(crate) fn client_config(&self) -> Result<quiche::Config, TlsError> {
        tls::client_config(&self.trust, &self.config.upstream.quic)
    }
}

fn identity(config: &Config, material: &Material) -> Result<Identity, Vec<Diagnostic>> {
    let chain = file(config, material, "tls.cert", &config.tls.cert);
    let key = file(config, material, "tls.key", &config.tls.key);
    let (chain, key) = match (chain, key) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err(chain.err().into_iter().chain(key.err()).collect()),
    };
    Identity::from_pem(chain, key).map_err(|error| {
        let (path, file, text) = match error {
            IdentityError::Chain(text) => ("tls.cert", &config.tls.cert, text),
            IdentityError::Key(text) => ("tls.key", &config.tls.key, text),
        };
        vec![config.diagnostic(path, format!("{}: {text}", file.display()))]
    })
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

fn file<'m>(
    config: &Config,
    material: &'m Material,
    key: &str,
    path: &Path,
) -> Result<&'m [u8], Diagnostic> {
    match material.files.get(path) {
        Some(Ok(bytes)) => Ok(bytes),
        Some(Err(error)) => Err(config.diagnostic(key, format!("{}: {error}", path.display()))),
        None => Err(config.diagnostic(key, format!("{}: was not read", path.display()))),
    }
}
