//! Which crate knows which: the map of ARCHITECTURE.md as a table.

use crate::metadata::Package;

/// A crate's folder name, and what it may depend on, tests and examples included.
/// A new edge is a change of the architecture: it belongs in this table first.
const EDGES: &[(&str, &[&str])] = &[
    ("trivisor-memory", &[]),
    ("trivisor-buses", &["trivisor-memory"]),
    ("trivisor-emulator", &[]),
    ("trivisor-loader", &[]),
    ("trivisor-pci", &["trivisor-buses"]),
    (
        "trivisor-virtio-device",
        &["trivisor-buses", "trivisor-memory", "trivisor-pci"],
    ),
    ("trivisor-backends", &["trivisor-buses", "trivisor-memory"]),
    ("trivisor-sandbox", &[]),
    (
        "trivisor-mode-basic",
        &["trivisor-buses", "trivisor-loader", "trivisor-memory"],
    ),
    (
        "trivisor-devices-hvm",
        &[
            "trivisor-buses",
            "trivisor-loader",
            "trivisor-memory",
            "trivisor-mode-basic",
            "trivisor-pci",
        ],
    ),
    (
        "trivisor-devices-pv",
        &[
            "trivisor-buses",
            "trivisor-loader",
            "trivisor-memory",
            "trivisor-mode-basic",
            "trivisor-pci",
            "trivisor-virtio-device",
        ],
    ),
    (
        "trivisor-kvm",
        &[
            "trivisor-buses",
            "trivisor-emulator",
            "trivisor-loader",
            "trivisor-memory",
        ],
    ),
    (
        "trivisor-vmm-core",
        &[
            "trivisor-buses",
            "trivisor-devices-hvm",
            "trivisor-devices-pv",
            "trivisor-emulator",
            "trivisor-kvm",
            "trivisor-loader",
            "trivisor-memory",
            "trivisor-mode-basic",
            "trivisor-pci",
        ],
    ),
    (
        "trivisor",
        &[
            "trivisor-backends",
            "trivisor-buses",
            "trivisor-devices-hvm",
            "trivisor-devices-pv",
            "trivisor-kvm",
            "trivisor-loader",
            "trivisor-memory",
            "trivisor-mode-basic",
            "trivisor-sandbox",
            "trivisor-vmm-core",
        ],
    ),
    (
        "trivisor-tests",
        &[
            "trivisor-buses",
            "trivisor-devices-hvm",
            "trivisor-emulator",
            "trivisor-kvm",
            "trivisor-loader",
            "trivisor-memory",
            "trivisor-mode-basic",
            "trivisor-pci",
            "trivisor-vmm-core",
        ],
    ),
    (
        "trivisor-fuzz",
        &[
            "trivisor-backends",
            "trivisor-buses",
            "trivisor-devices-hvm",
            "trivisor-devices-pv",
            "trivisor-emulator",
            "trivisor-loader",
            "trivisor-memory",
            "trivisor-mode-basic",
            "trivisor-pci",
            "trivisor-virtio-device",
        ],
    ),
    ("xtask", &[]),
];

/// What examples and tests alone may know beside that.
const DEV_EDGES: &[(&str, &[&str])] = &[(
    // A disk in a bare loop of kvm-ioctls, which no other crate may name.
    "trivisor-kvm",
    &["trivisor-devices-pv", "trivisor-virtio-device"],
)];

/// Crates of others that one crate alone may name.
const RESERVED: &[(&str, &str)] = &[("kvm-ioctls", "trivisor-kvm")];

/// Every edge that is not in the table.
pub(super) fn check(packages: &[Package]) -> Vec<String> {
    let mut findings = Vec::new();
    let members: Vec<_> = packages.iter().filter(|package| package.member).collect();
    for package in &members {
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == package.name) else {
            findings.push(format!(
                "{} is not in the table of crate edges (xtask/src/tidy/edges.rs)",
                package.name
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let ours = members.iter().any(|member| member.name == name);
            // A crate's tests name the crate itself to turn features on.
            let itself = dependency.dev && name == package.name;
            let in_dev = dependency.dev
                && DEV_EDGES
                    .iter()
                    .any(|(owner, more)| *owner == package.name && more.contains(&name));
            if ours && !itself && !in_dev && !allowed.contains(&name) {
                findings.push(format!("{} must not know {name}", package.name));
            }
            for (reserved, owner) in RESERVED {
                if name == *reserved && package.name != *owner {
                    findings.push(format!("only {owner} links {name}, not {}", package.name));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    fn member(name: &str, dependencies: &[(&str, bool)]) -> Package {
        Package {
            name: name.to_owned(),
            member: true,
            dependencies: dependencies
                .iter()
                .map(|&(name, dev)| Dependency {
                    name: name.to_owned(),
                    dev,
                })
                .collect(),
            ..Package::default()
        }
    }

    #[test]
    fn upward_edges_and_foreign_crates_pass() {
        let packages = [
            member("trivisor-memory", &[("vm-memory", false)]),
            member(
                "trivisor-buses",
                &[("trivisor-memory", false), ("trivisor-buses", true)],
            ),
        ];
        assert!(check(&packages).is_empty());
    }

    #[test]
    fn downward_edges_are_found_in_tests_too() {
        let packages = [
            member("trivisor-memory", &[("trivisor-buses", true)]),
            member("trivisor-buses", &[]),
            member("trivisor-vmm-core", &[("kvm-ioctls", false)]),
            member("trivisor-new", &[]),
        ];
        let findings = check(&packages);
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert_eq!(findings[0], "trivisor-memory must not know trivisor-buses");
        assert!(findings[1].starts_with("only trivisor-kvm links kvm-ioctls"));
        assert!(findings[2].starts_with("trivisor-new is not in the table"));
    }

    #[test]
    fn what_an_example_may_know_its_library_may_not() {
        let kvm = |dev| {
            let members = [
                member("trivisor-kvm", &[("trivisor-virtio-device", dev)]),
                member("trivisor-virtio-device", &[]),
            ];
            check(&members)
        };
        assert!(kvm(true).is_empty());
        assert_eq!(
            kvm(false),
            ["trivisor-kvm must not know trivisor-virtio-device"]
        );
    }

    #[test]
    fn the_table_has_no_cycle() {
        // Each crate stands below all that it may know.
        for (name, allowed) in EDGES.iter().chain(DEV_EDGES) {
            let index = EDGES.iter().position(|(known, _)| known == name).unwrap();
            for other in *allowed {
                let above = EDGES[..index].iter().any(|(known, _)| known == other);
                assert!(above, "{name} knows {other}");
            }
        }
    }
}
