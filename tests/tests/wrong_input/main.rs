//! What a user can get wrong, each with its message and status. None of these starts a guest, but a PC without a medium.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod hvm;
mod pv;
mod served;

use std::path::{Path, PathBuf};
use std::process::Command;

use trivisor_tests::{Session, bare_metal, kvm_wanted, trivisor};

/// Runs trivisor with these arguments; its status and what it said.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(trivisor()).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("panicked"), "{arguments:?}: {text}");
    (output.status.code(), text)
}

/// Expects `status` and `wanted` in the message.
fn refused(arguments: &[&str], status: i32, wanted: &str) {
    let (code, text) = run(arguments);
    assert_eq!(code, Some(status), "{arguments:?}: {text}");
    assert!(
        text.contains(wanted),
        "{arguments:?}: {wanted:?} is not in {text}"
    );
}

/// `trivisor run` with a good kernel and these arguments more.
fn with_kernel(more: &[&str], status: i32, wanted: &str) {
    let kernel = bare_metal();
    let mut arguments = vec![
        "run",
        "--timeout",
        "60",
        "--kernel",
        kernel.to_str().unwrap(),
    ];
    arguments.extend(more);
    refused(&arguments, status, wanted);
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn usage() {
    refused(&["run", "--no-such-flag"], 2, "--no-such-flag");
    refused(&["run", "--mode", "xen"], 2, "no mode");
    refused(&["run", "--mode", "pv"], 2, "no kernel");
    refused(&["run", "--mode", "turbo"], 2, "turbo");
    refused(&["run"], 2, "no kernel");
    refused(&["run", "--memory", "lots", "--kernel", "x"], 2, "lots");
    refused(&["stop", "no-such-vm"], 2, "no-such-vm");
    refused(&["info", "../../etc"], 2, "no VM");
    with_kernel(&["--name", "a/b"], 2, "no name for a VM");
}

#[test]
fn settings() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "vm.toml", b"[vm]\ncpu = 2\n");
    refused(
        &["run", path.to_str().unwrap()],
        2,
        "unknown key \"cpu\"; the nearest is \"cpus\"",
    );
    let path = write(folder.path(), "vm.toml", b"[vm\n");
    refused(&["run", path.to_str().unwrap()], 2, "line 1");
    refused(&["run", "/nonexistent/vm.toml"], 2, "/nonexistent/vm.toml");
    let path = write(
        folder.path(),
        "vm.toml",
        b"[vm]\ncpus = 2\n[boot]\nkernel = 'a'\n",
    );
    let printed = Command::new(trivisor())
        .args([
            "run",
            path.to_str().unwrap(),
            "--cpus",
            "4",
            "--print-config",
        ])
        .output()
        .unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(
        printed.contains("cpus = 4") && printed.contains("kernel = \"a\""),
        "{printed}"
    );
}

#[test]
fn processors_and_memory() {
    if !kvm_wanted("processors and memory") {
        return;
    }
    with_kernel(&["--cpus", "0"], 2, "1 to 64");
    with_kernel(&["--cpus", "1000"], 2, "1000 processors");
    with_kernel(&["--memory", "0"], 2, "0 bytes of memory are too few");
    with_kernel(&["--memory", "1M"], 2, "do not lie in");
    with_kernel(&["--memory", "1048577"], 2, "no multiple of the page");
    with_kernel(&["--memory", "100T"], 4, "more than the");
    with_kernel(&["--memory", "256M,hugepages=3M"], 2, "2M and 1G");
    // More huge pages than this host has set aside, whatever that is.
    let free =
        std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages");
    let free: u64 = free.map_or(0, |text| text.trim().parse().unwrap());
    let memory = format!("{}G,hugepages=1G", free + 1);
    with_kernel(&["--memory", &memory], 4, "huge pages");
}

#[test]
fn kernels() {
    if !kvm_wanted("kernels") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let kernel = |path: &Path, status, wanted: &str| {
        let name = path.to_str().unwrap();
        refused(
            &["run", "--timeout", "60", "--kernel", name],
            status,
            wanted,
        );
    };
    kernel(Path::new("/nonexistent/vmlinux"), 2, "/nonexistent/vmlinux");
    kernel(folder.path(), 2, "directory");
    kernel(
        &write(folder.path(), "empty", b""),
        2,
        "the kernel is empty",
    );
    kernel(
        &write(folder.path(), "text", b"#!/bin/sh\necho no kernel\n"),
        2,
        "no kernel format",
    );
    let good = std::fs::read(bare_metal()).unwrap();
    for length in [1, 3, 19, 63, 64, 100, 4096] {
        let path = write(folder.path(), "cut", &good[..length]);
        let (code, text) = run(&["run", "--timeout", "60", "--kernel", path.to_str().unwrap()]);
        assert_eq!(code, Some(2), "{length} bytes: {text}");
    }
    let mut other = good.clone();
    other[18..20].copy_from_slice(&183_u16.to_le_bytes());
    kernel(&write(folder.path(), "arm", &other), 2, "AArch64");
    let large = ["run", "--timeout", "60", "--memory", "1M", "--kernel"];
    let name = bare_metal();
    let mut arguments = large.to_vec();
    arguments.push(name.to_str().unwrap());
    refused(&arguments, 2, "do not lie in the guest's memory");
    let initrd = folder.path().join("initrd");
    std::fs::File::create(&initrd)
        .unwrap()
        .set_len(300 << 20)
        .unwrap();
    with_kernel(
        &["--initrd", initrd.to_str().unwrap()],
        2,
        "initial RAM disk of 314572800 bytes",
    );
    let empty = write(folder.path(), "empty", b"");
    with_kernel(&["--initrd", empty.to_str().unwrap()], 2, "empty");
    with_kernel(&["--cmdline", &"x".repeat(70_000)], 2, "command line");
}

#[test]
fn disks() {
    if !kvm_wanted("disks") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let odd = write(folder.path(), "odd.img", &[0; 5000]);
    with_kernel(
        &["--disk", &format!("{},bus=pmem", odd.display())],
        2,
        "multiple of the page",
    );
    with_kernel(
        &["--disk", "/nonexistent/disk.img,bus=pmem"],
        2,
        "/nonexistent/disk.img",
    );
    with_kernel(
        &["--disk", "a.img,bus=pmem,format=qcow2"],
        2,
        "persistent memory has no such option",
    );
    let image = write(folder.path(), "disk.img", &[0; 8192]);
    let disk = format!("{},bus=pmem", image.display());
    let kernel = bare_metal();
    let mut first = Session::start([
        "run",
        "--name",
        "test-lock",
        "--kernel",
        kernel.to_str().unwrap(),
        "--cmdline-only",
        "-- serial",
        "--disk",
        &disk,
    ]);
    first.expect("ok serial");
    with_kernel(&["--disk", &disk], 2, "in use by another VM");
    first.type_line("exit");
    assert_eq!(first.wait().status.code(), Some(0));
}

#[test]
fn hosts_without_kvm() {
    // A mount namespace of its own in which /dev/kvm is another file, or closed to an ordinary user.
    if !kvm_wanted("hosts without KVM") {
        return;
    }
    let kernel = bare_metal();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("trivisor");
    std::fs::copy(trivisor(), &copy).unwrap();
    let guest = folder.path().join("guest.elf");
    std::fs::copy(kernel, &guest).unwrap();
    let open = Command::new("chmod")
        .arg("-R")
        .arg("a+rX")
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(open.success());
    let run = |prepare: &str| {
        let script = format!(
            "{prepare} {} run --kernel {}",
            copy.display(),
            guest.display()
        );
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, text) = run("mount -t tmpfs none /dev && ");
    assert_eq!(code, Some(4), "{text}");
    assert!(
        text.contains("/dev/kvm does not exist") && text.contains("modprobe"),
        "{text}"
    );
    let node = folder.path().join("kvm");
    let node = node.display();
    let closed = format!(
        "mknod -m 600 {node} c 10 232 && mount --bind {node} /dev/kvm && setpriv --reuid 65534 --regid 65534 --clear-groups "
    );
    let (code, text) = run(&closed);
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("may not be opened by this user"), "{text}");
}

#[test]
fn no_threads() {
    if !kvm_wanted("no threads") {
        return;
    }
    let kernel = bare_metal();
    let thread = "the thread for console and requests";
    for sandbox in ["default", "off"] {
        // No thread gets a stack of this size.
        let output = Command::new(trivisor())
            .args(["run", "--timeout", "60", "--sandbox", sandbox])
            .args(["--kernel", kernel.to_str().unwrap()])
            .env("RUST_MIN_STACK", (1_u64 << 46).to_string())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{sandbox}: {text}");
        for wanted in [thread, "(os error ", "ulimit -u"] {
            assert!(text.contains(wanted), "{sandbox}: {text}");
        }
    }
}
