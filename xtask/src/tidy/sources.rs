//! The files of the repository.

use std::path::Path;

use anyhow::{Context, Result};

use crate::process::{command, output};

/// A text file.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Its path from the root.
    pub(super) path: String,
    /// What stands in it.
    pub(super) text: String,
}

impl Source {
    /// Whether it is Rust.
    pub(super) fn is_rust(&self) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|extension| extension == "rs")
    }

    /// Whether it holds only tests, benches or examples.
    pub(super) fn is_test(&self) -> bool {
        let words = ["tests.rs", "tests", "benches", "examples", "testing"];
        self.path.split('/').any(|part| words.contains(&part))
    }
}

/// All text files that belong to the repository, new ones included.
pub(super) fn read(root: &Path) -> Result<Vec<Source>> {
    let mut git = command(
        "git",
        &[
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ],
    );
    let list = output(git.current_dir(root)).context("list of files")?;
    let mut sources = Vec::new();
    for path in list.split_terminator('\0') {
        // What is deleted, and what is no text, has nothing to check.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            let path = path.to_owned();
            sources.push(Source { path, text });
        }
    }
    Ok(sources)
}

/// Folders of one machine; the parts keep this file itself clean.
const FORBIDDEN: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/ro", "ot/"),
];

/// Lines that only hold on the machine of who wrote them.
pub(super) fn check_words(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        for (index, line) in source.text.lines().enumerate() {
            for word in FORBIDDEN.iter().filter(|word| line.contains(**word)) {
                let (path, number) = (&source.path, index + 1);
                findings.push(format!("{path}:{number}: names the folder {word}"));
            }
        }
    }
    findings
}

#[cfg(test)]
pub(super) fn source(path: &str, text: &str) -> Source {
    Source {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_a_machine_are_found() {
        let text = format!("fine\ncd {}me/\n", FORBIDDEN[0]);
        let findings = check_words(&[source("a.md", &text), source("b.md", "/dev/kvm")]);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].starts_with("a.md:2: "));
    }

    #[test]
    fn tests_are_known_by_their_place() {
        assert!(source("mode-basic/src/uart/tests.rs", "").is_test());
        assert!(source("tests/src/lib.rs", "").is_test());
        assert!(!source("xtask/src/test/mod.rs", "").is_test());
    }
}
