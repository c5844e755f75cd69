//! YAML text → a [`Config`] that cannot be wrong, or every reason why not.
//!
//! ```text
//!  text ─▶ node ─▶ decode + sections ─▶ model
//!          a tree   known keys, kinds,   legal by
//!          with     ranges, rules        construction
//!          places   between keys
//! ```
//!
//! Nothing is ignored in silence: unknown keys, wrong kinds, values out of
//! range and combinations that cannot work are each a [`Diagnostic`] with file,
//! line, column and YAML path. All of a text's are reported at once.
//!
//! No file is opened here. Paths are resolved against the folder of the
//! configuration by arithmetic alone; [`Config::files`] lists what the driver
//! has to read, and [`Config::diagnostic`] places what it finds wrong there.

mod bounds;
mod decode;
mod defaults;
mod diagnostic;
mod identities;
mod model;
mod network;
mod node;
mod scalar;
mod schema;
mod secret;
mod sections;
#[cfg(test)]
mod tests;
pub(crate) mod units;

use std::path::{Path, PathBuf};

pub use diagnostic::{Diagnostic, Position, Positions};
pub use model::*;
pub use network::Network;
pub use secret::SecretSource;

use decode::Decoder;
use diagnostic::Report;

impl Config {
    /// Reads a configuration.
    ///
    /// `name` is the path of the file, as the user gave it: it begins every
    /// message, and relative paths in `text` are resolved against its folder.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, in the order of the text; never empty. Of a
    /// text that is no YAML, only the first fault is known.
    pub fn parse(name: &str, text: &str) -> Result<Config, Vec<Diagnostic>> {
        let mut report = Report::new(name);
        let Some(root) = node::read(text, &mut report) else {
            return Err(report.into_diagnostics());
        };
        let mut decoder = Decoder::new(folder(name), Positions::new(name), report);
        let config = sections::config(&mut decoder, &root);
        match config {
            Some(config) if decoder.clean_since(0) => Ok(config),
            Some(_) | None => {
                let diagnostics = decoder.into_diagnostics();
                assert!(
                    !diagnostics.is_empty(),
                    "a configuration is incomplete only for a reason that was reported"
                );
                Err(diagnostics)
            }
        }
    }

    /// The files that have to be read before anything can run, each once:
    /// certificates, keys, trusted roots, secrets.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let named = self.tls.files().chain(&self.upstream.backend_tls.ca);
        let secrets = self
            .secret_sources()
            .into_iter()
            .filter_map(|source| match source {
                SecretSource::File(path) => Some(path),
                SecretSource::Env(_) => None,
            });
        for file in named.chain(secrets) {
            if !files.contains(file) {
                files.push(file.clone());
            }
        }
        files
    }

    /// Everything that says where a secret is kept.
    pub(crate) fn secret_sources(&self) -> Vec<&SecretSource> {
        let keys = self.secret.iter().chain(&self.previous_secrets);
        keys.chain(self.tls.secret_sources()).collect()
    }

    fn secret_sources_mut(&mut self) -> Vec<&mut SecretSource> {
        let keys = self.secret.iter_mut().chain(&mut self.previous_secrets);
        keys.chain(self.tls.secret_sources_mut()).collect()
    }

    /// Whether backends are verified against the system's roots, because no
    /// others are named.
    pub fn needs_system_roots(&self) -> bool {
        let trust = &self.upstream.backend_tls;
        trust.verify && trust.ca.is_none()
    }

    /// The configuration with every default written out. Parsed again under the
    /// same name, it is the same configuration.
    pub fn to_yaml(&self) -> String {
        let base = folder(self.positions.file());
        let mut printed = self.clone();
        let backend_ca = &mut printed.upstream.backend_tls.ca;
        for path in printed.tls.files_mut().chain(backend_ca) {
            *path = as_written(path, base);
        }
        if let Some(AccessLog {
            path: LogTarget::File(path),
            ..
        }) = &mut printed.log.access
        {
            *path = as_written(path, base);
        }
        let log = &mut printed.log;
        let folder = log.qlog.as_mut().map(|qlog| &mut qlog.dir);
        for path in log.tls_keys.iter_mut().chain(folder) {
            *path = as_written(path, base);
        }
        for source in printed.secret_sources_mut() {
            if let SecretSource::File(path) = source {
                *path = as_written(path, base);
            }
        }
        serde_yaml::to_string(&printed)
            .expect("text, numbers and flags in sections and lists can always be written")
    }

    /// A fault that was found after parsing, in a file that `path` names or in
    /// what it asks of the system; placed where `path` stands in the text.
    pub fn diagnostic(&self, path: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            file: self.positions.file().to_owned(),
            position: self.positions.nearest(path),
            path: path.to_owned(),
            message: message.into(),
        }
    }
}

/// The folder that a configuration's relative paths begin at.
fn folder(name: &str) -> &Path {
    Path::new(name).parent().unwrap_or(Path::new(""))
}

/// What to write, in a configuration in `base`, to mean `path`.
///
/// Absolute paths stay as they are. A relative one begins at `base`, because
/// parsing put it there.
fn as_written(path: &Path, base: &Path) -> PathBuf {
    if path.is_absolute() {
        return path.to_owned();
    }
    path.strip_prefix(base).unwrap_or(path).to_owned()
}
