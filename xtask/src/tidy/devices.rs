//! Every device is a folder with the same files, and has a fuzz target.

use std::collections::BTreeSet;

use super::sources::Source;

/// Crates whose folders are devices, each with the name that a fuzz target knows it by.
const CRATES: &[(&str, &str)] = &[("mode-basic/src/", "trivisor_mode_basic")];
/// Crates whose folders are virtio devices or the larger chips of a PC: their cores are of all shapes, so they have
/// more files, or fewer.
const VIRTIO_CRATES: &[(&str, &str)] = &[
    ("devices-pv/src/", "trivisor_devices_pv"),
    ("devices-hvm/src/", "trivisor_devices_hvm"),
];
const VIRTIO_FILES: &[&str] = &["mod.rs", "state.rs"];
/// `config.rs` may be missing; nothing else.
const FILES: &[&str] = &["mod.rs", "core.rs", "regs.rs", "state.rs", "tests.rs"];
const OPTIONAL: &[&str] = &["config.rs"];

/// All that is wrong.
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for (folder, name) in CRATES {
        for device in devices(sources, folder) {
            check_files(sources, &format!("{folder}{device}/"), &mut findings);
            check_fuzzed(sources, (folder, name), device, &mut findings);
        }
    }
    for (folder, name) in VIRTIO_CRATES {
        for device in devices(sources, folder) {
            let has = |file: &str| {
                let path = format!("{folder}{device}/{file}");
                sources.iter().any(|source| source.path == path)
            };
            for file in VIRTIO_FILES.iter().filter(|file| !has(file)) {
                findings.push(format!("{folder}{device}/ lacks {file}"));
            }
            if !has("tests.rs") && !has("tests/mod.rs") {
                findings.push(format!("{folder}{device}/ lacks tests"));
            }
            check_fuzzed(sources, (folder, name), device, &mut findings);
        }
    }
    findings
}

/// A file of targets names the device and its crate: another crate may have one of the same name.
fn check_fuzzed(
    sources: &[Source],
    (folder, name): (&str, &str),
    device: &str,
    findings: &mut Vec<String>,
) {
    let fuzzed = sources.iter().any(|source| {
        let targets = source.path.starts_with("fuzz/") && source.is_rust();
        targets && [name, device].iter().all(|word| names(&source.text, word))
    });
    if !fuzzed {
        findings.push(format!("{folder}{device} has no fuzz target"));
    }
}

/// The names of the folders that hold a `core.rs` or a `mod.rs`.
fn devices<'a>(sources: &'a [Source], folder: &str) -> BTreeSet<&'a str> {
    let inside = sources
        .iter()
        .filter_map(|source| source.path.strip_prefix(folder));
    inside
        .filter_map(|path| path.split_once('/'))
        .filter(|(_, file)| ["mod.rs", "core.rs"].contains(file))
        .map(|(device, _)| device)
        .collect()
}

fn check_files(sources: &[Source], folder: &str, findings: &mut Vec<String>) {
    let files: Vec<_> = sources
        .iter()
        .filter_map(|source| source.path.strip_prefix(folder))
        .collect();
    for file in FILES.iter().filter(|file| !files.contains(file)) {
        findings.push(format!("{folder} lacks {file}"));
    }
    for file in files {
        // Golden files of saved state stand in a folder below.
        if !file.contains('/') && !FILES.contains(&file) && !OPTIONAL.contains(&file) {
            findings.push(format!("{folder}{file} is no file that devices have"));
        }
    }
}

/// Whether a text has the word.
fn names(text: &str, word: &str) -> bool {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .any(|found| found == word)
}

#[cfg(test)]
mod tests {
    use super::super::sources::source;
    use super::*;

    fn device(name: &str, files: &[&str]) -> Vec<Source> {
        let path = |file: &&str| source(&format!("mode-basic/src/{name}/{file}"), "");
        files.iter().map(path).collect()
    }

    #[test]
    fn a_virtio_device_has_state_tests_and_a_fuzz_target() {
        let path = |file: &str| source(&format!("devices-pv/src/rng/{file}"), "");
        let mut sources = vec![path("mod.rs"), path("queue.rs")];
        assert_eq!(check(&sources).len(), 3, "{:?}", check(&sources));
        sources.extend(["state.rs", "tests/mod.rs"].map(path));
        let target = "use trivisor_devices_pv::rng;";
        sources.push(source("fuzz/src/virtio.rs", target));
        assert!(check(&sources).is_empty());
    }

    #[test]
    fn a_whole_device_passes() {
        let mut sources = device("uart", FILES);
        sources.extend(device("uart", &["config.rs", "golden/v1.bin"]));
        sources.push(source("mode-basic/src/lib.rs", ""));
        sources.push(source(
            "fuzz/src/devices.rs",
            "use trivisor_mode_basic::uart;",
        ));
        assert!(check(&sources).is_empty(), "{:?}", check(&sources));
    }

    #[test]
    fn what_is_missing_and_what_is_too_much_is_found() {
        let mut sources = device(
            "rtc",
            &["mod.rs", "core.rs", "regs.rs", "state.rs", "more.rs"],
        );
        let targets = "trivisor_mode_basic uart rtc_of_another";
        sources.push(source("fuzz/src/devices.rs", targets));
        // A chip of another crate that is called so.
        let targets = "trivisor_devices_hvm rtc";
        sources.push(source("fuzz/src/hvm.rs", targets));
        let findings = check(&sources);
        let expected = [
            "rtc/ lacks tests.rs",
            "rtc/more.rs is no file",
            "rtc has no fuzz target",
        ];
        assert_eq!(findings.len(), expected.len(), "{findings:?}");
        for (finding, expected) in findings.iter().zip(expected) {
            assert!(finding.contains(expected), "{finding}");
        }
    }
}
