//! The examples of vmm-core work, and the smallest one is small.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::path::PathBuf;
use std::process::Command;

use trivisor_tests::{bare_metal, kvm_wanted, trivisor};

/// Examples are built beside the binary under test.
fn example(name: &str) -> PathBuf {
    let path = trivisor().parent().unwrap().join("examples").join(name);
    assert!(
        path.exists(),
        "{} is not built: run by `cargo xtask test`",
        path.display()
    );
    path
}

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
fn the_smallest_vm_has_at_most_sixty_lines_of_code() {
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../vmm-core/examples/smallest.rs"
    );
    let source = std::fs::read_to_string(source).unwrap();
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let lines = source.lines().filter(is_code).count();
    assert!(lines <= 60, "{lines} lines");
}
