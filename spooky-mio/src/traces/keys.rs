//! The file of secrets: nobody else's, and for nobody else to read.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::libc;

/// Read and written by its owner alone.
pub(super) const MODE: u32 = 0o600;

/// An NSS key log that lines are appended to.
pub(super) struct KeyFile(File);

impl KeyFile {
    /// Opens the file at `path`, or makes it.
    ///
    /// Where others can write to the folder, they could have put something else in its
    /// place: a link to a file of ours that should not be appended to, a pipe that they
    /// read. So what is there already is taken only if it is a plain file of ours, of one
    /// name, that nobody else can read; and it is the opened file that is looked at.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let say = |error: io::Error| format!("{}: {}", path.display(), explain(&error));
        let opened = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(MODE)
            // A pipe without a reader must not hold up the start.
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(path);
        let file = opened.map_err(say)?;
        let metadata = file.metadata().map_err(say)?;
        match objection(&metadata) {
            Some(reason) => Err(format!("{}: {reason}", path.display())),
            None => Ok(KeyFile(file)),
        }
    }

    /// What speaks against `path`, without opening or making it.
    pub(super) fn inspect(path: &Path) -> Result<(), String> {
        let reason = match fs::symlink_metadata(path) {
            Ok(metadata) => objection(&metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => folder_of(path),
            Err(error) => Some(error.to_string()),
        };
        reason.map_or(Ok(()), |reason| {
            Err(format!("{}: {reason}", path.display()))
        })
    }

    /// Any open file, whatever it is.
    #[cfg(test)]
    pub(super) fn of(file: File) -> Self {
        KeyFile(file)
    }

    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.0.write_all(lines)
    }
}

fn objection(metadata: &Metadata) -> Option<String> {
    if metadata.is_symlink() {
        return Some(LINK.to_owned());
    }
    if !metadata.is_file() {
        return Some(NO_FILE.to_owned());
    }
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Some(format!("belongs to another user (uid {})", metadata.uid()));
    }
    if metadata.nlink() != 1 {
        return Some("has more than one name (hard links); secrets go to none of them".to_owned());
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Some(format!(
            "others may read or write it (mode {mode:04o}): remove it, or `chmod 600` it"
        ));
    }
    None
}

/// The file is not there; neither may its folder be.
fn folder_of(path: &Path) -> Option<String> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let there = folder.is_none_or(Path::is_dir);
    (!there).then(|| NO_FOLDER.to_owned())
}

const NO_FILE: &str = "is no plain file; secrets go to nothing else";
const NO_FOLDER: &str = "its folder is not there";
const LINK: &str = "is a symbolic link, and secrets follow none: name the file itself";

fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ELOOP) => LINK.to_owned(),
        Some(libc::ENXIO) => NO_FILE.to_owned(),
        // The file itself would have been made.
        Some(libc::ENOENT) => NO_FOLDER.to_owned(),
        Some(_) | None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::tests::Scratch;
    use super::*;

    #[test]
    fn the_file_is_for_its_owner_alone_and_grows() {
        let scratch = Scratch::new("keys-mode");
        let path = scratch.path("keys.log");
        KeyFile::inspect(&path).expect("a new file is fine");
        assert!(!path.exists(), "to look makes nothing");
        for line in ["one\n", "two\n"] {
            let mut file = KeyFile::open(&path).expect("opened");
            file.append(line.as_bytes()).expect("written");
            KeyFile::inspect(&path).expect("ours");
        }
        assert_eq!(fs::read_to_string(&path).expect("there"), "one\ntwo\n");
        let mode = fs::metadata(&path).expect("there").mode() & 0o7777;
        assert_eq!(mode, MODE);
    }

    #[test]
    fn what_others_could_have_put_there_is_refused_and_untouched() {
        let scratch = Scratch::new("keys-refused");
        let ours = scratch.path("authorized_keys");
        fs::write(&ours, "precious\n").expect("written");
        fs::set_permissions(&ours, fs::Permissions::from_mode(MODE)).expect("set");

        let link = scratch.path("link");
        symlink(&ours, &link).expect("linked");
        refused(&link, LINK);
        let dangling = scratch.path("dangling");
        symlink(scratch.path("nowhere"), &dangling).expect("linked");
        refused(&dangling, LINK);
        assert!(!scratch.path("nowhere").exists());

        let hard = scratch.path("hard");
        fs::hard_link(&ours, &hard).expect("linked");
        refused(
            &hard,
            "has more than one name (hard links); secrets go to none of them",
        );
        fs::remove_file(&hard).expect("removed");

        let pipe = scratch.path("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("made");
        refused(&pipe, NO_FILE);

        fs::set_permissions(&ours, fs::Permissions::from_mode(0o640)).expect("set");
        let open = "others may read or write it (mode 0640): remove it, or `chmod 600` it";
        refused(&ours, open);

        assert_eq!(fs::read_to_string(&ours).expect("there"), "precious\n");
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let scratch = Scratch::new("keys-folder");
        refused(&scratch.path("no/such/keys.log"), NO_FOLDER);
    }

    fn refused(path: &Path, reason: &str) {
        let wanted = format!("{}: {reason}", path.display());
        assert_eq!(KeyFile::open(path).err().as_ref(), Some(&wanted));
        assert_eq!(KeyFile::inspect(path).err(), Some(wanted));
    }
}
