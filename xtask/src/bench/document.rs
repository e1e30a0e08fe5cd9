//! docs/benchmarks.md: each benchmark writes its own section, and leaves the others as they are.

use std::path::Path;

use anyhow::{Context, Result};

const BEFORE: &str = "\
# Benchmarks

Each section is written by the command that it names, which builds in release mode and installs what it needs:
`cargo xtask bench start` for start-up, `cargo xtask bench block` for disks, `cargo xtask bench net` for networks, `cargo xtask
bench bios` for firmware. What the buses
add to a port or memory exit is measured by `cargo xtask bench exits`.
";

/// Puts `section`, which begins with its heading, into the file.
///
/// # Errors
/// When it cannot be written.
pub(super) fn put(file: &Path, section: &str) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let old = std::fs::read_to_string(file).unwrap_or_default();
    std::fs::write(file, with(&old, section)).with_context(|| file.display().to_string())
}

/// The rest of a section of the file from the line on that begins with `from`; nothing, if there is none.
pub(super) fn behind(file: &Path, heading: &str, from: &str) -> String {
    let old = std::fs::read_to_string(file).unwrap_or_default();
    let lines = old.lines().skip_while(|line| *line != heading).skip(1);
    let section = lines.take_while(|line| !line.starts_with("## "));
    let rest = section.skip_while(|line| !line.starts_with(from));
    rest.fold(String::new(), |mut text, line| {
        text.push('\n');
        text.push_str(line);
        text
    })
}

fn with(old: &str, section: &str) -> String {
    let heading = section.lines().next().unwrap_or_default();
    let mut sections = Vec::new();
    for line in old.lines() {
        if line.starts_with("## ") {
            sections.push(String::new());
        }
        if let Some(last) = sections.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    let place = sections
        .iter_mut()
        .find(|old| old.lines().next() == Some(heading));
    match place {
        Some(place) => section.clone_into(place),
        None => sections.push(section.to_owned()),
    }
    let mut text = BEFORE.to_owned();
    for section in sections {
        text.push('\n');
        text.push_str(section.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_replaces_its_like_alone() {
        let first = with("# Old\n", "## A\n\na\n");
        let second = with(&first, "## B\n\nb\n\n### b\n");
        let third = with(&second, "## A\n\nnew\n");
        assert_eq!(
            third,
            format!("{BEFORE}\n## A\n\nnew\n\n## B\n\nb\n\n### b\n")
        );
        assert_eq!(with(&third, "## A\n\nnew\n"), third);
    }
}
