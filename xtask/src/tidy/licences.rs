//! Licences of everything that is linked, and crates that are there twice.

use std::collections::BTreeMap;

use crate::metadata::Package;

/// Licences (SPDX) that go with `Apache-2.0 OR BSD-3-Clause`.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "NCSA",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

/// Packages whose licence is not allowed.
pub(super) fn check(packages: &[Package]) -> Vec<String> {
    packages
        .iter()
        .filter(|package| !allowed(&package.licence))
        .map(|package| {
            format!(
                "{} {} has the licence {:?}, which is not on the list",
                package.name, package.version, package.licence
            )
        })
        .collect()
}

/// Packages of which more than one version is compiled.
pub(super) fn doubled(packages: &[Package]) -> Vec<String> {
    let mut versions = BTreeMap::<_, Vec<_>>::new();
    for package in packages {
        let list = versions.entry(package.name.as_str()).or_default();
        list.push(package.version.as_str());
    }
    versions
        .iter()
        .filter(|(_, list)| list.len() > 1)
        .map(|(name, list)| format!("{name} is there as {}", list.join(" and ")))
        .collect()
}

/// Whether an SPDX expression can be met by allowed licences. `/` is what old crates write for OR.
fn allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ");
    let spaced = spaced.replace('/', " OR ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = any(&mut rest);
    met && rest.is_empty()
}

fn any(words: &mut &[&str]) -> bool {
    let mut met = all(words);
    while let [first, rest @ ..] = *words
        && *first == "OR"
    {
        *words = rest;
        met |= all(words);
    }
    met
}

fn all(words: &mut &[&str]) -> bool {
    let mut met = one(words);
    while let [first, rest @ ..] = *words
        && *first == "AND"
    {
        *words = rest;
        met &= one(words);
    }
    met
}

fn one(words: &mut &[&str]) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let met = any(words);
            let closed = words.first() == Some(&")");
            *words = words.get(1..).unwrap_or_default();
            met && closed
        }
        [licence, "WITH", exception, rest @ ..] => {
            *words = rest;
            ALLOWED.contains(&&*format!("{licence} WITH {exception}"))
        }
        [licence, rest @ ..] => {
            *words = rest;
            ALLOWED.contains(licence)
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_met_as_spdx_means_them() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0-only OR MIT",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0-only",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "GPL-2.0-only OR MIT AND ISC",
        ] {
            assert!(allowed(good), "{good}");
        }
        for bad in [
            "",
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "(MIT OR Apache-2.0) AND OpenSSL",
            "(MIT OR Apache-2.0",
            "MIT MIT",
            "MIT WITH LLVM-exception",
        ] {
            assert!(!allowed(bad), "{bad}");
        }
    }

    #[test]
    fn two_versions_are_listed() {
        let package = |name: &str, version: &str| Package {
            name: name.to_owned(),
            version: version.to_owned(),
            ..Package::default()
        };
        let packages = [
            package("a", "1.0.0"),
            package("b", "1.0.0"),
            package("a", "2.0.0"),
        ];
        assert_eq!(doubled(&packages), ["a is there as 1.0.0 and 2.0.0"]);
    }
}
