//! How the workspace is put together: features that must stay off, and dependencies
//! that are named once.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use crate::workspace;

/// Features of quiche that are for its own tests.
///
/// `fuzzing` turns encryption into a copy, `internal` opens its insides. Cargo
/// unifies features over a workspace: one member that asks gives them to the daemon.
const FORBIDDEN: &[&str] = &["fuzzing", "internal"];

#[test]
fn quiche_is_built_without_the_features_for_its_tests() {
    let features = workspace::Metadata::read().features_of("quiche");
    assert!(
        features.iter().any(|f| f == "boringssl-boring-crate"),
        "quiche was not resolved: {features:?}"
    );
    let found: Vec<&&str> = FORBIDDEN
        .iter()
        .filter(|f| features.iter().any(|on| on == *f))
        .collect();
    assert!(found.is_empty(), "quiche is resolved with {found:?}");
}

/// A member's feature `fuzzing` opens private parsers to the fuzz workspace.
#[test]
fn members_are_built_without_entrances_for_fuzzing() {
    let metadata = workspace::Metadata::read();
    let open: Vec<String> = metadata
        .member_names()
        .into_iter()
        .filter(|name| metadata.features_of(name).iter().any(|f| f == "fuzzing"))
        .collect();
    assert!(open.is_empty(), "`fuzzing` is on for {open:?}");
}

#[test]
fn mistakes_are_planted_in_tests_alone() {
    let metadata = workspace::Metadata::read();
    let features = metadata.features_of("spooky-core");
    assert!(
        !features.iter().any(|f| f == "planted"),
        "spooky-core is resolved with {features:?}"
    );
    let mut manifests = metadata.member_manifests();
    manifests.push(workspace::root().join("fuzz/Cargo.toml"));
    let mut found = Vec::new();
    for manifest in manifests {
        let text = fs::read_to_string(&manifest).expect("a manifest is readable");
        let folder = manifest.parent().and_then(Path::file_name);
        let folder = folder.and_then(OsStr::to_str).unwrap_or_default();
        let code = text.lines().filter(|line| !line.starts_with('#'));
        let naming = code.filter(|line| line.contains("planted"));
        found.extend(naming.map(|line| format!("{folder}: {line}")));
    }
    let allowed = [
        "spooky-core: planted = []",
        "tests: planted = [\"spooky-core/planted\"]",
        "tests: name = \"planted\"",
        "tests: required-features = [\"planted\"]",
    ];
    assert_eq!(found, allowed);
}

#[test]
fn nothing_that_is_shipped_depends_on_the_simulator() {
    let metadata = workspace::Metadata::read();
    for shipped in ["spooky-core", "spooky-os", "spooky-mio", "spooky-tokio"] {
        let reached = metadata.dependencies_of(shipped);
        assert!(
            reached.contains("quiche"),
            "nothing was resolved: {reached:?}"
        );
        assert!(!reached.contains("spooky-tests"), "{shipped} reaches it");
    }
    // The look itself works: the other way round they are reached.
    let reached = metadata.dependencies_of("spooky-tests");
    assert!(reached.contains("spooky-mio"), "{reached:?}");
}

#[test]
fn members_take_every_dependency_from_the_workspace() {
    let members = workspace::Metadata::read().member_manifests();
    assert!(members.len() > 3, "found only {members:?}");
    let mut found = Vec::new();
    for manifest in members {
        let text = fs::read_to_string(&manifest).expect("a manifest is readable");
        found.extend(own_dependencies(&text).map(|line| format!("{}: {line}", manifest.display())));
    }
    assert!(
        found.is_empty(),
        "not from the workspace:\n{}",
        found.join("\n")
    );
}

#[test]
fn members_take_the_lints_of_the_workspace() {
    let without: Vec<_> = workspace::Metadata::read()
        .member_manifests()
        .into_iter()
        .filter(|manifest| {
            let text = fs::read_to_string(manifest).expect("a manifest is readable");
            !text.contains("[lints]\nworkspace = true")
        })
        .collect();
    assert!(
        without.is_empty(),
        "no `[lints]` with `workspace = true` in {without:?}"
    );
}

#[test]
fn every_dependency_of_the_workspace_is_used_by_a_member() {
    let root =
        fs::read_to_string(workspace::root().join("Cargo.toml")).expect("the manifest is readable");
    let members: Vec<String> = workspace::Metadata::read()
        .member_manifests()
        .iter()
        .map(|manifest| fs::read_to_string(manifest).expect("a manifest is readable"))
        .collect();
    let unused: Vec<&str> = dependency_lines(&root)
        .filter_map(|line| line.split([' ', '=', '.']).next())
        .filter(|name| {
            !members
                .iter()
                .any(|text| dependency_lines(text).any(|line| names(line, name)))
        })
        .collect();
    assert!(unused.is_empty(), "nobody uses {unused:?}");
}

#[test]
fn a_dependency_with_a_version_of_its_own_is_found() {
    let text = "\
[package]
version = \"1\"
[dependencies]
# why
a.workspace = true
b = { workspace = true, features = [\"x\"] }
c = \"1\"
[dev-dependencies]
d = { path = \"../d\" }
[lints]
workspace = true
";
    let found: Vec<&str> = own_dependencies(text).collect();
    assert_eq!(found, ["c = \"1\"", "d = { path = \"../d\" }"]);
}

/// Lines that name a dependency without taking it from the workspace.
fn own_dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    dependency_lines(manifest).filter(|line| {
        !line.contains(".workspace = true")
            && !line.contains("workspace = true,")
            && !line.contains("{ workspace = true }")
    })
}

/// Lines of the sections whose name ends in `dependencies`, one a dependency by our habit.
fn dependency_lines(manifest: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().map(str::trim).filter(move |line| {
        if line.starts_with('[') {
            inside = line.trim_end_matches(']').ends_with("dependencies");
            return false;
        }
        inside && !line.is_empty() && !line.starts_with('#')
    })
}

/// Whether a line of a manifest names this dependency.
fn names(line: &str, dependency: &str) -> bool {
    line.strip_prefix(dependency)
        .is_some_and(|rest| rest.starts_with([' ', '.', '=']))
}
