//! Which edges inputs reached, by folders of the source: the binary has the address of each edge, its debug information
//! the line, and libFuzzer's merge the numbers of those that were reached.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::{elf, workspace};

/// Edges of one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    reached: usize,
    all: usize,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reached, all } = *self;
        let tenths = (reached * 1000).checked_div(all).unwrap_or_default();
        write!(f, "{reached} of {all} ({}.{} %)", tenths / 10, tenths % 10)
    }
}

/// Edges by lines of the workspace's source; a line may have several.
#[derive(Debug, Default)]
pub(super) struct Coverage(BTreeMap<(String, u32), Count>);

impl Coverage {
    /// # Errors
    /// When binutils' addr2line is missing or fails.
    pub(super) fn of(binary: &Path, edges: &[u64], reached: &BTreeSet<usize>) -> Result<Self> {
        let lines = lines(binary, edges)?;
        ensure!(
            lines.len() == edges.len(),
            "addr2line has left out addresses"
        );
        let root = format!("{}/", workspace::root().display());
        let mut counts = BTreeMap::<_, Count>::new();
        for (edge, line) in lines.iter().enumerate() {
            if let Some((path, number)) = source(line, &root) {
                let count = counts.entry((path.to_owned(), number)).or_default();
                count.all += 1;
                count.reached += usize::from(reached.contains(&edge));
            }
        }
        Ok(Self(counts))
    }

    fn folders(&self) -> BTreeMap<&str, Count> {
        let mut folders = BTreeMap::<_, Count>::new();
        for ((path, _), count) in &self.0 {
            let sum = folders.entry(folder(path)).or_default();
            sum.reached += count.reached;
            sum.all += count.all;
        }
        folders
    }

    /// The folder of a target's own source, and its edges: of those whose name the target's begins with, the one of
    /// which it reaches most.
    pub(super) fn of_target(&self, target: &str) -> (String, String) {
        let folders = self.folders().into_iter();
        let own = folders.filter(|(folder, _)| {
            let name = folder.rsplit('/').next().unwrap_or_default();
            !name.is_empty() && target.starts_with(name)
        });
        let own = own.filter(|(_, count)| count.reached > 0);
        own.max_by_key(|(_, count)| count.reached).map_or_else(
            || ("-".to_owned(), "-".to_owned()),
            |(folder, count)| (format!("`{folder}`"), count.to_string()),
        )
    }

    /// Lines of folders that something of was reached, of which nothing was.
    pub(super) fn uncovered(&self) -> String {
        let folders = self.folders();
        let seen = |path: &str| {
            folders
                .get(folder(path))
                .is_some_and(|count| count.reached > 0)
        };
        let mut text = String::new();
        for ((path, line), count) in &self.0 {
            if count.reached == 0 && seen(path) {
                // A string takes everything.
                let _ = writeln!(text, "{path}:{line}");
            }
        }
        text
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (folder, count) in self.folders() {
            if count.reached > 0 {
                writeln!(f, "{folder:<30} {count}")?;
            }
        }
        Ok(())
    }
}

/// The addresses of all edges, in the order of their numbers. 1 stands for one that was optimized away.
///
/// # Errors
/// When the file is no ELF64, or has no table of edges.
pub(super) fn addresses(file: &[u8]) -> Result<Vec<u64>> {
    let sections = elf::sections(file)?;
    let table = sections
        .iter()
        .find(|section| section.name == "__sancov_pcs");
    let table = table.context("the binary has no table of edges")?.contents;
    // An address and flags each.
    let (entries, _) = table.as_chunks::<16>();
    let address = |entry: &[u8; 16]| {
        let (words, _) = entry.as_chunks();
        words.first().copied().map_or(0, u64::from_le_bytes)
    };
    Ok(entries.iter().map(address).collect())
}

/// The numbers of edges that were reached, by a merge's control file: lines `COV FILE NUMBER..`.
///
/// # Errors
/// When there are none, or a number is not one.
pub(super) fn reached(control: &str) -> Result<BTreeSet<usize>> {
    let lines = control.lines().filter_map(|line| line.strip_prefix("COV "));
    let numbers = lines.flat_map(|line| line.split_whitespace().skip(1));
    let numbers: BTreeSet<usize> = numbers.map(str::parse).collect::<Result<_, _>>()?;
    ensure!(!numbers.is_empty(), "the merge names no edges");
    Ok(numbers)
}

/// `FILE:LINE` of each address.
fn lines(binary: &Path, addresses: &[u64]) -> Result<Vec<String>> {
    let mut child = Command::new("addr2line")
        .arg("-e")
        .arg(binary)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("addr2line (binutils)")?;
    let mut stdin = child.stdin.take().context("addr2line has no input")?;
    let words = addresses.iter().fold(String::new(), |mut words, address| {
        // A string takes everything.
        let _ = writeln!(words, "{address:x}");
        words
    });
    // On a thread of its own: it answers while it reads.
    let writer = thread::spawn(move || stdin.write_all(words.as_bytes()));
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "addr2line: {}", output.status);
    writer.join().ok().context("the writer panicked")??;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().map(str::to_owned).collect())
}

/// Path and line in the workspace of `FILE:LINE (discriminator N)`; `None`: elsewhere, or not known.
fn source<'a>(line: &'a str, root: &str) -> Option<(&'a str, u32)> {
    let line = line.split(' ').next()?;
    let (path, number) = line.strip_prefix(root)?.rsplit_once(':')?;
    Some((path, number.parse().ok()?))
}

/// `CRATE/src/FOLDER` of a path; `CRATE/src` of a file that stands there.
fn folder(path: &str) -> &str {
    let mut slashes = path.match_indices('/').map(|(at, _)| at);
    let end = slashes.by_ref().take(3).last().unwrap_or(path.len());
    &path[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coverage(lines: &[(&str, u32, usize, usize)]) -> Coverage {
        let lines = lines.iter();
        Coverage(
            lines
                .map(|(path, line, reached, all)| {
                    let (reached, all) = (*reached, *all);
                    (((*path).to_owned(), *line), Count { reached, all })
                })
                .collect(),
        )
    }

    #[test]
    fn paths_belong_to_folders() {
        assert_eq!(
            folder("devices-hvm/src/ide/ata/mod.rs"),
            "devices-hvm/src/ide"
        );
        assert_eq!(folder("devices-hvm/src/ide/mod.rs"), "devices-hvm/src/ide");
        assert_eq!(folder("buses/src/line.rs"), "buses/src");
        let known = source("/a/b/buses/src/line.rs:12 (discriminator 3)", "/a/b/");
        assert_eq!(known, Some(("buses/src/line.rs", 12)));
        assert_eq!(source("/rustc/1234/library/core/src/a.rs:5", "/a/b/"), None);
        assert_eq!(source("??:0", "/a/b/"), None);
        assert_eq!(source("/a/b/buses/src/line.rs:?", "/a/b/"), None);
    }

    #[test]
    fn a_target_has_a_folder_and_others_their_sums() {
        let coverage = coverage(&[
            ("devices-hvm/src/i8042/core.rs", 5, 2, 2),
            ("devices-hvm/src/i8042/ps2/mouse.rs", 7, 1, 6),
            ("mode-basic/src/i8042/core.rs", 9, 0, 3),
            ("buses/src/line.rs", 1, 1, 1),
            ("buses/src/line.rs", 2, 0, 1),
        ]);
        let own = (
            "`devices-hvm/src/i8042`".to_owned(),
            "3 of 8 (37.5 %)".to_owned(),
        );
        assert_eq!(coverage.of_target("i8042_keyboard"), own);
        assert_eq!(coverage.of_target("ide").0, "-");
        assert_eq!(coverage.uncovered(), "buses/src/line.rs:2\n");
        let text = coverage.to_string();
        assert!(
            text.contains("buses/src                      1 of 2 (50.0 %)"),
            "{text}"
        );
        assert!(!text.contains("mode-basic"), "{text}");
    }

    #[test]
    fn edges_of_a_merge_are_joined() {
        let control =
            "2\n0\n/a\n/b\nSTARTED 0 12\nFT 0 1 2\nCOV 0 7 9\nSTARTED 1 3\nFT 1 5\nCOV 1 11\n";
        assert_eq!(reached(control).unwrap(), [7, 9, 11].into());
        assert!(reached("1\n0\n/a\nSTARTED 0 12\nFT 0 1 2\n").is_err());
        assert!(reached("COV 0 x\n").is_err());
    }

    #[test]
    fn a_binary_without_counters_has_no_table() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let error = addresses(&file).unwrap_err().to_string();
        assert!(error.contains("no table of edges"), "{error}");
    }

    #[test]
    fn this_test_has_lines() {
        let file = std::env::current_exe().unwrap();
        // No address of ours: what is not known has a line of its own, so that numbers stay in order.
        assert_eq!(lines(&file, &[1, 1, 1]).unwrap().len(), 3);
    }
}
