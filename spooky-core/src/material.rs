//! What a configuration names, as bytes: the core opens no file and reads no
//! environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::config::{Config, SecretSource};

/// The bytes of everything a configuration names. The driver reads them.
#[derive(Clone, Default)]
pub struct Material {
    /// Every path of [`Config::files`], with its bytes or why they can't be read.
    pub files: BTreeMap<PathBuf, Result<Vec<u8>, String>>,
    /// Every name of [`Config::env_vars`] that is set, with its value.
    pub env: BTreeMap<String, Vec<u8>>,
    /// The system's trusted roots as DER, if [`Config::needs_system_roots`].
    pub system_roots: Vec<Vec<u8>>,
    /// When they were read, for a word about certificates whose time is over; absent,
    /// nobody asks.
    pub wall: Option<SystemTime>,
}

impl std::fmt::Debug for Material {
    /// Names, without what they hold: keys and passwords are among it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material")
            .field("files", &self.files.keys())
            .field("env", &self.env.keys())
            .field("system_roots", &self.system_roots.len())
            .field("wall", &self.wall)
            .finish()
    }
}

impl Material {
    /// The bytes of a file.
    pub(crate) fn file(&self, path: &Path) -> Result<&[u8], String> {
        match self.files.get(path) {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(error)) => Err(format!("{}: {error}", path.display())),
            None => Err(format!("{}: was not read", path.display())),
        }
    }

    /// A secret, without the line break that editors and `echo` leave at the end of a
    /// file; never empty.
    pub(crate) fn secret(&self, source: &SecretSource) -> Result<&[u8], String> {
        let secret = match source {
            SecretSource::File(path) => {
                let bytes = self.file(path)?;
                let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
                line.strip_suffix(b"\r")
                    .filter(|_| line.len() < bytes.len())
                    .unwrap_or(line)
            }
            SecretSource::Env(name) => self
                .env
                .get(name)
                .ok_or_else(|| format!("{source} is not set"))?,
        };
        if secret.is_empty() {
            return Err(format!(
                "{source}: it is empty, and a secret has to be given"
            ));
        }
        Ok(secret)
    }
}

impl Config {
    /// The environment variables that hold secrets, each once.
    pub fn env_vars(&self) -> Vec<String> {
        let mut names = Vec::new();
        for source in self.secret_sources() {
            if let SecretSource::Env(name) = source
                && !names.contains(name)
            {
                names.push(name.clone());
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_at_the_end_of_a_file_is_not_the_secrets() {
        for (file, secret) in [
            ("open sesame", "open sesame"),
            ("open sesame\n", "open sesame"),
            ("open sesame\r\n", "open sesame"),
            ("open sesame\n\n", "open sesame\n"),
            ("open sesame\r", "open sesame\r"),
            (" open\nsesame ", " open\nsesame "),
        ] {
            let material = holding(file);
            let source = SecretSource::File("secret".into());
            assert_eq!(material.secret(&source), Ok(secret.as_bytes()), "{file:?}");
            let source = SecretSource::Env("SECRET".into());
            assert_eq!(material.secret(&source), Ok(file.as_bytes()), "{file:?}");
        }
    }

    #[test]
    fn a_secret_that_is_none_says_where_it_was_looked_for() {
        let file = SecretSource::File("secret".into());
        let variable = SecretSource::Env("SECRET".into());
        let nothing = Material::default();
        assert_eq!(nothing.secret(&file), Err("secret: was not read".into()));
        assert_eq!(
            nothing.secret(&variable),
            Err("the environment variable SECRET is not set".into())
        );
        for (empty, source, place) in [
            ("", &file, "secret"),
            ("\n", &file, "secret"),
            ("\r\n", &file, "secret"),
            ("", &variable, "the environment variable SECRET"),
        ] {
            let said = format!("{place}: it is empty, and a secret has to be given");
            assert_eq!(holding(empty).secret(source), Err(said));
        }
    }

    #[test]
    fn what_is_held_is_not_printed() {
        let printed = format!("{:?}", holding("open sesame"));
        assert_eq!(
            printed,
            r#"Material { files: ["secret"], env: ["SECRET"], system_roots: 0, wall: None }"#
        );
    }

    fn holding(secret: &str) -> Material {
        Material {
            files: [("secret".into(), Ok(secret.into()))].into(),
            env: [("SECRET".into(), secret.into())].into(),
            ..Material::default()
        }
    }
}
