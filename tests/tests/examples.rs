//! The examples of vmm-core and kvm work, and those that claim it are small.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::path::PathBuf;
use std::process::Command;

use trivisor_tests::{bare_metal, example, kvm_wanted};

#[test]
fn a_vm_from_the_parts_runs() {
    if !kvm_wanted("example smallest") {
        return;
    }
    let output = Command::new(example("smallest"))
        .arg(bare_metal())
        .args(["-- hello; poweroff"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(
        text.contains("ok hello") && text.contains("PowerOff"),
        "{text}"
    );
}

#[test]
fn a_board_of_ones_own_runs() {
    if !kvm_wanted("example own_board") {
        return;
    }
    let output = Command::new(example("own_board"))
        .arg(bare_metal())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(
        text.contains("trivisor-guest") && text.contains("Reset"),
        "{text}"
    );
}

#[test]
fn a_disk_in_a_bare_exit_loop_is_read() {
    if !kvm_wanted("example virtio_block") {
        return;
    }
    let output = Command::new(example("virtio_block"))
        .arg("from the disk")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout.len(), 512, "{output:?}");
    assert!(output.stdout.starts_with(b"from the disk..."), "{output:?}");
}

/// A file of the workspace.
fn source(path: &str) -> String {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    std::fs::read_to_string(root.join(path)).unwrap()
}

#[test]
fn the_disk_in_a_bare_exit_loop_has_at_most_a_hundred_lines_and_stands_in_the_readme() {
    let example = source("kvm/examples/virtio_block/main.rs");
    let lines = example.lines().count();
    assert!(lines <= 100, "{lines} lines");
    let readme = source("virtio-device/README.md");
    let (_, shown) = readme.split_once("```text\n").unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    assert!(shown.lines().count() > 10, "{shown}");
    let indented = |line: &str| match line {
        "" => "\n".to_owned(),
        line => format!("    {line}\n"),
    };
    let shown: String = shown.lines().map(indented).collect();
    assert!(example.contains(&shown), "{shown}");
}

#[test]
fn the_smallest_vm_has_at_most_sixty_lines_of_code() {
    let source = source("vmm-core/examples/smallest.rs");
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let lines = source.lines().filter(is_code).count();
    assert!(lines <= 60, "{lines} lines");
}
