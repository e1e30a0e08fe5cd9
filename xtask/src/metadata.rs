//! What `cargo metadata` says of the workspace and its dependencies.

use anyhow::{Context, Result};
use serde_json::Value;

/// A package of the dependency graph.
#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// Its licence as an SPDX expression; empty when it names none.
    pub(crate) licence: String,
    /// Whether it is of this workspace.
    pub(crate) member: bool,
    /// The packages that it names itself, for whatever use.
    pub(crate) dependencies: Vec<Dependency>,
}

/// A dependency that a package names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// Its name.
    pub(crate) name: String,
    /// Whether only tests, examples and benches have it.
    pub(crate) dev: bool,
}

/// All packages, by Cargo's answer.
///
/// # Errors
/// When Cargo fails or answers in another form.
pub(crate) fn read() -> Result<Vec<Package>> {
    let mut cargo = crate::process::cargo(&["metadata", "--format-version=1", "--all-features"]);
    // Only what this platform compiles: nothing else ends in a binary of ours.
    cargo.args(["--filter-platform", "x86_64-unknown-linux-gnu"]);
    parse(&crate::process::output(&mut cargo)?)
}

fn parse(text: &str) -> Result<Vec<Package>> {
    let value: Value = serde_json::from_str(text).context("cargo metadata")?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let used = list(&value["resolve"]["nodes"]);
    let packages = list(&value["packages"]);
    let packages = packages
        .iter()
        .filter(|package| used.is_empty() || used.iter().any(|node| node["id"] == package["id"]));
    let packages: Vec<_> = packages
        .map(|package| Package {
            name: text(&package["name"]),
            version: text(&package["version"]),
            licence: text(&package["license"]),
            member: package["source"].is_null(),
            dependencies: list(&package["dependencies"])
                .iter()
                .map(|dependency| Dependency {
                    name: text(&dependency["name"]),
                    dev: dependency["kind"] == "dev",
                })
                .collect(),
        })
        .collect();
    anyhow::ensure!(
        packages.iter().any(|package| package.member),
        "cargo metadata names no package of the workspace"
    );
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_and_unused_ones_left_out() {
        let packages = parse(
            r#"{"packages": [
                {"id": "1", "name": "a", "version": "0.1.0", "license": "MIT", "source": null,
                 "dependencies": [{"name": "b", "kind": null}, {"name": "c", "kind": "dev"}]},
                {"id": "2", "name": "b", "version": "2.0.0", "license": null, "source": "registry",
                 "dependencies": []},
                {"id": "3", "name": "windows", "version": "1.0.0", "license": null, "source": "registry",
                 "dependencies": []}],
              "resolve": {"nodes": [{"id": "1"}, {"id": "2"}]}}"#,
        )
        .unwrap();
        let names: Vec<_> = packages.iter().map(|package| &*package.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(packages[0].member && !packages[1].member);
        assert!(!packages[0].dependencies[0].dev && packages[0].dependencies[1].dev);
        assert!(parse("{}").is_err());
    }
}
