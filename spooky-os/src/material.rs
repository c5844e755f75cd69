//! Reading the configuration and what it names.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::SystemTime;

use spooky_core::config::{Config, Diagnostic};
use spooky_core::{Material, Setup};

/// Reads and parses a configuration file.
pub fn read_config(path: &Path) -> Result<Config, Vec<Diagnostic>> {
    let name = path.to_string_lossy();
    let unreadable = |message| {
        vec![Diagnostic {
            file: name.to_string(),
            position: None,
            path: String::new(),
            message,
        }]
    };
    let bytes = fs::read(path).map_err(|error| unreadable(format!("cannot read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        unreadable(format!(
            "not UTF-8 text, at byte {}",
            error.utf8_error().valid_up_to()
        ))
    })?;
    Config::parse(&name, &text)
}

/// Reads every file and environment variable a configuration names, and the system's
/// roots if it needs them.
///
/// A file that cannot be read is no error here: `Setup::build` knows which key
/// named it, and says so together with everything else that is wrong.
pub fn read_material(config: &Config) -> Material {
    let read = |path: std::path::PathBuf| {
        let bytes = fs::read(&path).map_err(|error| error.to_string());
        (path, bytes)
    };
    let variable = |name: String| {
        let value = std::env::var_os(&name)?.into_vec();
        Some((name, value))
    };
    let system_roots = if config.needs_system_roots() {
        system_roots()
    } else {
        Vec::new()
    };
    Material {
        files: config.files().into_iter().map(read).collect(),
        env: config.env_vars().into_iter().filter_map(variable).collect(),
        system_roots,
        wall: Some(SystemTime::now()),
    }
}

/// Everything between a configuration and running it: reads what it names and builds it.
pub fn setup(config: Config) -> Result<Setup, Vec<Diagnostic>> {
    let material = read_material(&config);
    Setup::build(config, &material)
}

fn system_roots() -> Vec<Vec<u8>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        log::warn!("reading the system's trusted roots: {error}");
    }
    found
        .certs
        .iter()
        .map(|certificate| certificate.to_vec())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_cannot_be_read_names_its_file() {
        let folder = std::env::temp_dir();
        let told = read_config(&folder).expect_err("a folder is no file");
        assert_eq!(told[0].file, folder.to_string_lossy());
        assert!(
            told[0].message.starts_with("cannot read"),
            "{}",
            told[0].message
        );
        let binary = folder.join(format!("spooky-{}-binary.yaml", std::process::id()));
        fs::write(&binary, b"listen: \xff").expect("written");
        let told = read_config(&binary).expect_err("not text");
        fs::remove_file(&binary).expect("removed");
        assert_eq!(told[0].message, "not UTF-8 text, at byte 8");
    }
}
