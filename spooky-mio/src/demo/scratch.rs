//! A directory that is there as long as the value.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// A fresh directory among the system's temporary ones; its owner's alone.
#[derive(Debug)]
pub struct ScratchDir(PathBuf);

impl ScratchDir {
    /// Makes one whose name begins with `name`.
    pub fn new(name: &str) -> io::Result<Self> {
        let unique: u64 = rand::random();
        let path = std::env::temp_dir().join(format!("{name}-{unique:016x}"));
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            log::warn!("{} is left behind: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_with_what_is_in_it() {
        let dir = ScratchDir::new("spooky-test").unwrap();
        let path = dir.path().to_owned();
        fs::write(path.join("x"), "y").unwrap();
        drop(dir);
        assert!(!path.exists());
    }
}
