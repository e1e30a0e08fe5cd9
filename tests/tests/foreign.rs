//! Images that we did not write, in basic mode: how far each gets. They take long, and run with `--slow`.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::path::Path;
use std::time::Duration;

use trivisor_tests::{
    Ended, Session, debian_kernel, initramfs, invaders, linux_bzimage, memtest, slow_wanted, xen,
    xen_shim,
};

/// Debian's kernel spends ten minutes in its initcalls where ring 0 is emulated, and twice that where others work too.
const BOOT: Duration = Duration::from_secs(2700);

fn run(kernel: &Path, options: &[&str]) -> Session {
    let kernel = kernel.to_str().unwrap();
    Session::start(
        ["run", "--mode", "basic", "--kernel", kernel]
            .iter()
            .chain(options),
    )
}

/// The number of this name in the line of counters that `--metrics` wrote.
fn counter(metrics: &Path, name: &str) -> u64 {
    let text = std::fs::read_to_string(metrics).unwrap();
    let (_, rest) = text.split_once(&format!("\"{name}\":")).unwrap();
    let digits = rest.trim_start().split(|c: char| !c.is_ascii_digit());
    digits.into_iter().next().unwrap().parse().unwrap()
}

fn assert_not_crashed(ended: &Ended) {
    assert!(
        matches!(ended.status.code(), Some(0 | 124)),
        "{}",
        ended.output
    );
}

#[test]
fn debians_cloud_kernel_gets_to_a_shell() {
    if !slow_wanted("Debian's cloud kernel") {
        return;
    }
    let initrd = initramfs();
    // Its self-tests of Diffie-Hellman, with numbers of up to 8192 bits, would take hours of an emulated ring 0.
    let options = ["--memory", "512M", "--cmdline", "cryptomgr.notests"];
    let options = [&options[..], &["--initrd", initrd.to_str().unwrap()]].concat();
    let mut vm = run(&debian_kernel(), &options);
    vm.expect("Linux version 6.1.");
    vm.expect_within("trivisor-guest: ready", BOOT);
    assert!(vm.shell("uname -r").ends_with("-cloud-amd64"));
    assert_eq!(vm.shell("nproc"), "1");
    vm.type_line("reboot -f");
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
}

/// By multiboot 2, with a Linux as its module. It takes all of its start-up but a platform timer, of which basic mode
/// has none: no PIT, no HPET, no ACPI timer. There is no BIOS either, so it is told to leave real mode alone.
#[test]
fn xen_reads_every_table_and_misses_a_timer() {
    if !slow_wanted("Xen") {
        return;
    }
    let dom0 = linux_bzimage();
    let options = [
        "--initrd",
        dom0.to_str().unwrap(),
        "--memory",
        "512M",
        "--cpus",
        "2",
    ];
    let cmdline = "xen com1=115200,8n1,0x3f8,4 console=com1 loglvl=all no-real-mode";
    let options = [
        &options[..],
        &["--timeout", "600", "--cmdline-only", cmdline],
    ]
    .concat();
    let mut vm = run(&xen(), &options);
    for line in [
        "Xen version 4.17",
        "Bootloader: trivisor",
        "Command line: com1=115200,8n1,0x3f8,4 console=com1",
        "Multiboot-e820 RAM map:",
        "[0000000000000000, 000000000009fbff] (usable)",
        "[0000000000100000, 000000001fffffff] (usable)",
        "ACPI: RSDP 000E0000",
        "SMBIOS 3.0 present.",
        "IOAPIC[0]: apic_id 0, version 32, address 0xfec00000, GSI 0-23",
        "SMP: Allowing 2 CPUs",
        "Initializing Credit2 scheduler",
        "Unable to find usable platform timer",
        "Resetting with ACPI MEMORY or I/O RESET_REG.",
    ] {
        vm.expect(line);
    }
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
}

/// By PVH. It gets through its page tables into 64-bit code and to its first hypercall, which asks Xen for the memory
/// map. Without a Xen below it that never returns or is a panic; its console would have been Xen's too, so it says nothing.
#[test]
fn xen_as_a_guest_gets_to_its_first_hypercall() {
    if !slow_wanted("Xen's shim") {
        return;
    }
    let ended = run(&xen_shim(), &["--memory", "256M", "--timeout", "20"]).wait();
    assert_not_crashed(&ended);
}

/// By multiboot 1, at the address of its header's fields. It draws its title to where a screen would be and waits for
/// a timer that is not there; what it reads on the way is counted.
#[test]
fn invaders_wait_for_a_timer() {
    if !slow_wanted("GRUB Invaders") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let metrics = folder.path().join("metrics");
    let options = [
        "--metrics",
        metrics.to_str().unwrap(),
        "--memory",
        "64M",
        "--timeout",
        "10",
    ];
    let ended = run(&invaders(), &options).wait();
    assert_eq!(ended.status.code(), Some(124), "{}", ended.output);
    assert!(counter(&metrics, "unclaimed_ports") > 1000);
}

/// By the Linux boot protocol, at the image's own 64-bit entry: it has no payload. Its screen comes over the serial
/// port, and so do its keys.
#[test]
fn memtest_tests_memory() {
    if !slow_wanted("Memtest86+") {
        return;
    }
    let cmdline = "console=ttyS0,115200 nosmp nosm nobench nopause";
    let options = ["--memory", "16M", "--cmdline-only", cmdline];
    let mut vm = run(&memtest(), &options);
    for text in [
        "Memtest86+ v6.",
        "16MB ",
        "#0  [Address test, walking ones, no cache]",
        " 50% ####################",
        "Errors: 0",
    ] {
        vm.expect(text);
    }
    // Escape: it reboots.
    vm.type_bytes(b"\x1b");
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
}
