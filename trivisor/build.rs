//! Builds the bare-metal guest that `trivisor demo` boots; it is embedded in the binary.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let guest = folder.join("../guests/bare-metal");
    let target = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("guest");
    for part in ["src", "Cargo.toml", "Cargo.lock", "build.rs", "link.ld"] {
        println!("cargo::rerun-if-changed={}", guest.join(part).display());
    }
    // The guest has flags of its own; those of this build (coverage, a sanitizer) would not link there.
    let status = Command::new(env::var_os("CARGO").expect("cargo sets it"))
        .args(["build", "--release", "--quiet", "--manifest-path"])
        .arg(guest.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the bundled guest cannot be built");
    let image = target.join("release/trivisor-guest");
    println!(
        "cargo::rustc-env=TRIVISOR_BUNDLED_GUEST={}",
        image.display()
    );
}
