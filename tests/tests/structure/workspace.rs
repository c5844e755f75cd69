//! This workspace as Cargo sees it, for the tests of its structure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member
        .parent()
        .expect("a member lies in the workspace")
        .to_path_buf()
}

/// What `cargo metadata` says: packages, and how their dependencies resolve here.
pub(crate) struct Metadata(Value);

impl Metadata {
    /// Asks cargo, without the network: to build this test it had everything.
    pub(crate) fn read() -> Self {
        let host = host_triple();
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--offline"])
            // Without it cargo also wants packages of other systems, never downloaded here.
            .args(["--filter-platform", &host])
            .current_dir(root())
            .output()
            .expect("cargo runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Metadata(serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON"))
    }

    /// Features a package is built with, over the whole workspace.
    pub(crate) fn features_of(&self, name: &str) -> Vec<String> {
        let node = self.node(self.id(name));
        list(&node["features"])
            .iter()
            .map(|f| text(f).to_owned())
            .collect()
    }

    /// Names of all packages that a package needs to run, however deep.
    pub(crate) fn dependencies_of(&self, name: &str) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        let mut open = vec![self.id(name)];
        while let Some(id) = open.pop() {
            for dependency in list(&self.node(id)["deps"]) {
                // Kind null is a normal dependency, not one of tests or of build scripts.
                let runs = list(&dependency["dep_kinds"])
                    .iter()
                    .any(|kind| kind["kind"].is_null());
                let id = text(&dependency["pkg"]);
                if runs && ids.insert(id) {
                    open.push(id);
                }
            }
        }
        ids.into_iter().map(|id| self.name(id).to_owned()).collect()
    }

    /// The manifests of the workspace's members.
    pub(crate) fn member_manifests(&self) -> Vec<PathBuf> {
        self.members()
            .map(|package| PathBuf::from(text(&package["manifest_path"])))
            .collect()
    }

    /// The names of the workspace's members.
    pub(crate) fn member_names(&self) -> Vec<String> {
        self.members()
            .map(|package| text(&package["name"]).to_owned())
            .collect()
    }

    fn members(&self) -> impl Iterator<Item = &Value> {
        let members: Vec<&str> = list(&self.0["workspace_members"])
            .iter()
            .map(text)
            .collect();
        self.packages()
            .filter(move |package| members.contains(&text(&package["id"])))
    }

    fn packages(&self) -> impl Iterator<Item = &Value> {
        list(&self.0["packages"]).iter()
    }

    fn id(&self, name: &str) -> &str {
        let package = self.packages().find(|package| package["name"] == name);
        text(&package.unwrap_or_else(|| panic!("there is no package {name}"))["id"])
    }

    fn name(&self, id: &str) -> &str {
        let package = self.packages().find(|package| package["id"] == id);
        text(&package.expect("a resolved package is listed")["name"])
    }

    fn node(&self, id: &str) -> &Value {
        let node = list(&self.0["resolve"]["nodes"])
            .iter()
            .find(|node| node["id"] == id);
        node.expect("a listed package is resolved")
    }
}

fn host_triple() -> String {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .expect("rustc runs");
    let printed = String::from_utf8(output.stdout).expect("rustc prints text");
    let host = printed.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("rustc names its host").to_owned()
}

fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .map(Vec::as_slice)
        .expect("cargo metadata has a list here")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("cargo metadata has text here")
}
