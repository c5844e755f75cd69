//! The folder of traces, one file a connection, within bounds.
//!
//! The bounds hold over restarts, because what stands in the folder at the start is
//! counted. They are this process's: two that share a folder would each count for itself.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc;
use spooky_core::limits;
use spooky_core::observe::{QlogPiece, Trace};

/// Traces, of which the oldest give way to new ones.
pub(super) struct Folder {
    path: PathBuf,
    /// Bytes of each file. Names sort by age.
    files: BTreeMap<String, u64>,
    total: u64,
    bounds: Bounds,
}

#[derive(Clone, Copy)]
struct Bounds {
    bytes: u64,
    files: usize,
}

const BOUNDS: Bounds = Bounds {
    bytes: limits::QLOG_FOLDER_BYTES,
    files: limits::QLOG_FILES,
};

impl Folder {
    /// Looks at what stands in the folder already. Other files than traces are nobody's
    /// business here.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let say = |error: io::Error| format!("{}: {error}", path.display());
        Folder::inspect(path)?;
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(path).map_err(say)? {
            let entry = entry.map_err(say)?;
            let metadata = entry.metadata().map_err(say)?;
            if let Ok(name) = entry.file_name().into_string()
                && is_trace(&name)
                && metadata.is_file()
            {
                files.insert(name, metadata.len());
            }
        }
        let probe = path.join(format!(".spooky-{}", std::process::id()));
        create(&probe).map_err(say)?;
        fs::remove_file(&probe).map_err(say)?;
        let mut folder = Folder {
            path: path.to_owned(),
            total: files.values().sum(),
            files,
            bounds: BOUNDS,
        };
        folder.make_room(0).map_err(say)?;
        Ok(folder)
    }

    /// What speaks against `path`, without writing to it.
    pub(super) fn inspect(path: &Path) -> Result<(), String> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => Err(format!("{}: is no folder", path.display())),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Writes a piece to its trace's file. What comes late for a file that had to give
    /// way is dropped.
    pub(super) fn append(&mut self, piece: &QlogPiece) -> io::Result<()> {
        let name = piece.trace.file_name();
        let begins = piece.offset == 0 && !self.files.contains_key(&name);
        if !begins && !self.files.contains_key(&name) {
            return Ok(());
        }
        let size = piece.records.len() as u64;
        self.make_room(size)?;
        let path = self.path.join(&name);
        // No descriptor is kept: there may be more traces than a process has of them.
        let mut file = if begins {
            create(&path)?
        } else if self.files.contains_key(&name) {
            let mut options = OpenOptions::new();
            options.append(true).custom_flags(libc::O_NOFOLLOW);
            options.open(&path)?
        } else {
            // It was the oldest itself.
            return Ok(());
        };
        // Before it is written: a disk that is full leaves a part of it, or an empty file.
        *self.files.entry(name).or_default() += size;
        self.total += size;
        file.write_all(&piece.records)
    }

    /// Removes the oldest until so many bytes more fit, and one file.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        while self.total + bytes > self.bounds.bytes || self.files.len() >= self.bounds.files {
            let Some((name, size)) = self.files.pop_first() else {
                return Ok(());
            };
            self.total -= size;
            match fs::remove_file(self.path.join(name)) {
                // Somebody was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        Ok(())
    }
}

fn is_trace(name: &str) -> bool {
    name.starts_with(Trace::PREFIX) && name.ends_with(Trace::SUFFIX)
}

/// Makes a file that was not there before: no link is followed.
fn create(path: &Path) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(super::keys::MODE);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use spooky_core::observe::Peer;

    use super::super::tests::Scratch;
    use super::*;

    #[test]
    fn pieces_of_a_trace_make_a_file_for_its_owner_alone() {
        let scratch = Scratch::new("qlog-pieces");
        let mut folder = Folder::open(&scratch.0).expect("opened");
        let (one, two) = (trace(1), trace(2));
        folder.append(&piece(&one, 0, "a\n")).expect("written");
        folder.append(&piece(&two, 0, "x\n")).expect("written");
        folder.append(&piece(&one, 2, "b\n")).expect("written");
        let path = scratch.path(&one.file_name());
        assert_eq!(fs::read_to_string(&path).expect("there"), "a\nb\n");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        assert_eq!(names(&scratch), [one.file_name(), two.file_name()]);
    }

    #[test]
    fn the_oldest_give_way_and_stay_away() {
        let scratch = Scratch::new("qlog-bytes");
        fs::write(scratch.path("notes.txt"), [0; 5000]).expect("written");
        let mut folder = small(&scratch, 1000, 100);
        let line = format!("{}\n", "x".repeat(399));
        for age in 1..=3 {
            folder
                .append(&piece(&trace(age), 0, &line))
                .expect("written");
        }
        let kept = [trace(2).file_name(), trace(3).file_name()];
        assert_eq!(names(&scratch)[1..], kept);
        // What comes late for it begins no file that lacks its head.
        folder
            .append(&piece(&trace(1), 400, &line))
            .expect("dropped");
        assert_eq!(names(&scratch)[1..], kept);
        // One that goes on is the oldest itself.
        folder
            .append(&piece(&trace(2), 400, &line))
            .expect("dropped");
        assert_eq!(
            names(&scratch),
            ["notes.txt".to_owned(), trace(3).file_name()]
        );
        assert_eq!(folder.total, 400);
    }

    #[test]
    fn files_are_bounded_in_number_over_restarts() {
        let scratch = Scratch::new("qlog-files");
        let mut folder = small(&scratch, 1 << 20, 3);
        for age in 1..=5 {
            folder
                .append(&piece(&trace(age), 0, "{}\n"))
                .expect("written");
            assert!(names(&scratch).len() <= 3);
        }
        let mut folder = small(&scratch, 1 << 20, 3);
        folder
            .append(&piece(&trace(6), 0, "{}\n"))
            .expect("written");
        assert_eq!(names(&scratch), [4, 5, 6].map(|age| trace(age).file_name()));
    }

    #[test]
    fn a_link_in_a_traces_place_is_not_followed() {
        let scratch = Scratch::new("qlog-link");
        let mut folder = Folder::open(&scratch.0).expect("opened");
        let aim = scratch.path("aim");
        symlink(&aim, scratch.path(&trace(1).file_name())).expect("linked");
        assert!(folder.append(&piece(&trace(1), 0, "{}\n")).is_err());
        assert!(!aim.exists());
        folder
            .append(&piece(&trace(2), 0, "{}\n"))
            .expect("written");
        let path = scratch.path(&trace(2).file_name());
        fs::remove_file(&path).expect("removed");
        symlink(&aim, &path).expect("linked");
        assert!(folder.append(&piece(&trace(2), 3, "{}\n")).is_err());
        assert!(!aim.exists());
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_refused_with_the_reason() {
        let scratch = Scratch::new("qlog-refused");
        let refused = |path: &Path| Folder::open(path).err().expect("refused");
        let missing = refused(&scratch.path("missing"));
        assert!(missing.contains("missing: No such file"), "{missing}");
        fs::write(scratch.path("file"), "").expect("written");
        let file = refused(&scratch.path("file"));
        assert!(file.ends_with("file: is no folder"), "{file}");
    }

    fn small(scratch: &Scratch, bytes: u64, files: usize) -> Folder {
        let mut folder = Folder::open(&scratch.0).expect("opened");
        folder.bounds = Bounds { bytes, files };
        folder
    }

    fn trace(age: u64) -> Arc<Trace> {
        Arc::new(Trace {
            began: SystemTime::UNIX_EPOCH + Duration::from_secs(age),
            peer: Peer::Client,
            connection: "00".to_owned(),
        })
    }

    fn piece(trace: &Arc<Trace>, offset: u64, records: &str) -> QlogPiece {
        QlogPiece {
            trace: Arc::clone(trace),
            offset,
            records: records.as_bytes().to_vec(),
        }
    }

    fn names(scratch: &Scratch) -> Vec<String> {
        let entries = fs::read_dir(&scratch.0).expect("there");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("read").file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).into_string().expect("text"))
            .collect();
        names.sort_unstable();
        names
    }
}
