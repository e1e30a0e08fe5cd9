//! Unsafe code stands where the architecture lets it, each piece with its reason.

use super::lexer;
use super::sources::Source;

/// Where it may stand. The emulator's tests run instructions on the host's own processor; the guest is
/// a kernel.
const PLACES: &[&str] = &[
    "memory/",
    "kvm/",
    "sandbox/",
    "backends/src/sys",
    "emulator/tests/",
    "guests/bare-metal/",
];

/// Crates that must forbid it altogether. `backends` has a part that may.
const FORBIDDING: &[&str] = &[
    "buses/src/lib.rs",
    "devices-pv/src/lib.rs",
    "emulator/src/lib.rs",
    "fuzz/src/lib.rs",
    "loader/src/lib.rs",
    "mode-basic/src/lib.rs",
    "pci/src/lib.rs",
    "tests/src/lib.rs",
    "trivisor/src/main.rs",
    "virtio-device/src/lib.rs",
    "vmm-core/src/lib.rs",
    "xtask/src/main.rs",
];

/// Lines that one reason may stand above its block: attributes, and the start of a longer statement.
const REACH: usize = 6;

/// All that is wrong.
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        check_source(source, &mut findings);
    }
    for path in FORBIDDING {
        let source = sources.iter().find(|source| source.path == *path);
        if let Some(source) = source
            && !source.text.contains("#![forbid(unsafe_code)]")
        {
            findings.push(format!("{path} lacks #![forbid(unsafe_code)]"));
        }
    }
    findings
}

fn check_source(source: &Source, findings: &mut Vec<String>) {
    let allowed = PLACES.iter().any(|place| source.path.starts_with(place));
    let code = lexer::code(&source.text);
    let lines: Vec<_> = source.text.lines().collect();
    for (index, line) in code.lines().enumerate() {
        let Some(kind) = unsafe_word(line) else {
            continue;
        };
        let (path, number) = (&source.path, index + 1);
        if !allowed {
            findings.push(format!("{path}:{number}: unsafe code does not belong here"));
        } else if kind == Kind::Reasoned && !has_reason(&lines, index) {
            findings.push(format!("{path}:{number}: unsafe without a SAFETY comment"));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A block or an `unsafe impl`: somebody claims to have checked.
    Reasoned,
    /// A function, a trait, an attribute: somebody asks others to.
    Asking,
}

/// The word `unsafe` in a line of code without comments and literals.
fn unsafe_word(line: &str) -> Option<Kind> {
    let part_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut found = None;
    for (at, word) in line.match_indices("unsafe") {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        if before.ends_with(part_of_word) || after.starts_with(part_of_word) {
            continue;
        }
        let after = after.trim_start();
        // A brace that stands on the next line belongs to a block as well.
        if after.is_empty() || after.starts_with('{') || after.starts_with("impl") {
            return Some(Kind::Reasoned);
        }
        found = Some(Kind::Asking);
    }
    found
}

fn has_reason(lines: &[&str], index: usize) -> bool {
    let first = index.saturating_sub(REACH);
    let above = lines[first..index].iter().rev();
    let is_comment = |line: &str| line.trim_start().starts_with("//");
    // A comment right above may be as long as it likes.
    let comment = lines[..index]
        .iter()
        .rev()
        .take_while(|line| is_comment(line));
    lines[index].contains("SAFETY:")
        || above
            .take_while(|line| !line.trim().is_empty())
            .chain(comment)
            .any(|line| is_comment(line) && line.contains("SAFETY:"))
}

#[cfg(test)]
mod tests {
    use super::super::sources::source;
    use super::*;

    #[test]
    fn a_reason_in_reach_passes() {
        let text = "// SAFETY: it is so.\nlet x =\n    unsafe { f() };\n\n/// unsafe {\nunsafe fn g() {}\n";
        assert!(check(&[source("kvm/src/a.rs", text)]).is_empty());
        let long = format!(
            "// SAFETY: long\n{}unsafe {{ f() }}\n",
            "// more\n".repeat(9)
        );
        assert!(check(&[source("memory/src/a.rs", &long)]).is_empty());
    }

    #[test]
    fn without_a_reason_or_in_the_wrong_place_it_is_found() {
        let text = "// SAFETY: of another\n\nunsafe impl Send for X {}\nlet x = unsafe { f() };\n";
        let findings = check(&[source("kvm/src/a.rs", text)]);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].starts_with("kvm/src/a.rs:3: "));
        let findings = check(&[source("loader/src/a.rs", "// SAFETY: no\nunsafe { f() }\n")]);
        assert_eq!(findings.len(), 1);
        let findings = check(&[source(
            "loader/src/a.rs",
            "#![forbid(unsafe_code)] // unsafe {\n",
        )]);
        assert!(findings.is_empty(), "{findings:?}");
    }

    #[test]
    fn a_crate_that_must_forbid_it_does() {
        let findings = check(&[source("buses/src/lib.rs", "mod a;\n")]);
        assert_eq!(findings, ["buses/src/lib.rs lacks #![forbid(unsafe_code)]"]);
    }
}
