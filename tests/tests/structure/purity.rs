//! The core decides and does no I/O. Clippy refuses calls (spooky-core/clippy.toml);
//! these tests refuse the names, and the dependencies that would bring them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace;

/// Names that have no business in the core, and what to do instead.
const FORBIDDEN: &[(&str, &str)] = &[
    ("Instant::now", "`now` is an argument"),
    (".elapsed()", "`now` is an argument"),
    (
        "SystemTime::now",
        "wall time comes in through `handle_clock`",
    ),
    ("UdpSocket", "drivers own the sockets"),
    ("TcpStream", "drivers own the sockets"),
    ("TcpListener", "drivers own the sockets"),
    ("std::thread", "drivers own the threads"),
    ("thread::", "drivers own the threads"),
    ("std::fs", "drivers read files, the core takes bytes"),
    ("fs::", "drivers read files, the core takes bytes"),
    ("File::open", "drivers read files, the core takes bytes"),
    ("env::var", "drivers read the environment"),
];

/// Crates that do I/O or bring a runtime.
const FORBIDDEN_CRATES: &[&str] = &[
    "mio",
    "tokio",
    "socket2",
    "quinn-udp",
    "signal-hook",
    "polling",
];

#[test]
fn the_core_names_no_clock_socket_thread_or_file() {
    let sources = rust_files(&workspace::root().join("spooky-core/src"));
    assert!(sources.len() > 3, "found only {sources:?}");
    let found: Vec<String> = sources
        .iter()
        .flat_map(|path| violations_in(path))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_core_depends_on_no_runtime() {
    let reached = workspace::Metadata::read().dependencies_of("spooky-core");
    assert!(
        reached.contains("quiche"),
        "nothing was resolved: {reached:?}"
    );
    let found: Vec<&&str> = FORBIDDEN_CRATES
        .iter()
        .filter(|name| reached.contains(**name))
        .collect();
    assert!(found.is_empty(), "spooky-core reaches {found:?}");
}

#[test]
fn the_check_sees_code_and_not_comments_or_tests() {
    let text = "\
//! let now = Instant::now();
let later = Instant::now(); // said twice: Instant::now
// std::fs is not for us
#[cfg(test)]
mod tests {
    use std::fs;
}
";
    assert_eq!(
        violations("x.rs", text),
        ["x.rs:2: Instant::now: `now` is an argument"]
    );
}

fn violations_in(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a source file is readable");
    violations(&path.display().to_string(), &text)
}

/// Every forbidden name in code outside of comments and of the test module,
/// which by our habit stands last in a file.
fn violations(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let opens_tests = lines
            .peek()
            .is_some_and(|(_, next)| next.starts_with("mod ") && next.ends_with('{'));
        if line.starts_with("#[cfg(test)]") && opens_tests {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        for (word, instead) in FORBIDDEN {
            if code.contains(word) {
                found.push(format!("{name}:{}: {word}: {instead}", number + 1));
                break;
            }
        }
    }
    found
}

/// The sources below `folder`, without those that are tests by their name.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the entry is readable").path();
        let stem = path
            .file_stem()
            .and_then(|s| s.to_str())
            .unwrap_or_default();
        if stem == "tests" || stem.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
