//! What the host lacks: installed where that is possible without a question, else said.

use anyhow::{Result, bail};

use crate::process;

/// Something that a chore needs from the host.
struct Need {
    /// The program, or the file when it begins with `/`.
    what: &'static str,
    /// The package of Debian and Ubuntu that has it.
    package: &'static str,
}

const fn need(what: &'static str, package: &'static str) -> Need {
    Need { what, package }
}

/// In the search path of no distribution.
const VIRTIOFSD: &str = "virtiofsd";

/// Where it is: Debian 12, newer ones (whose package is called `virtiofsd`), Arch.
const PLACES_OF_VIRTIOFSD: &[&str] = &[
    "/usr/lib/qemu/virtiofsd",
    "/usr/libexec/virtiofsd",
    "/usr/lib/virtiofsd",
];

/// The code of syslinux's master boot record.
const SYSLINUX_MBR: &str = "mbr.bin of syslinux";

/// Where it is: Debian and Ubuntu, Fedora, Arch.
const PLACES_OF_SYSLINUX_MBR: &[&str] = &[
    "/usr/lib/syslinux/mbr/mbr.bin",
    "/usr/share/syslinux/mbr.bin",
    "/usr/lib/syslinux/bios/mbr.bin",
];

/// What building, the guests and the tests need.
const NEEDS: &[Need] = &[
    need("cc", "gcc"),
    need("make", "make"),
    need("ld", "binutils"),
    need("tar", "tar"),
    need("xz", "xz-utils"),
    need("lz4", "lz4"),
    need("flex", "flex"),
    need("bison", "bison"),
    need("bc", "bc"),
    need("perl", "perl"),
    need("git", "git"),
    need("mkfs.ext4", "e2fsprogs"),
    need("unshare", "util-linux"),
    need("ip", "iproute2"),
    need("passt", "passt"),
    need("/usr/share/seabios/bios-256k.bin", "seabios"),
    need("syslinux", "syslinux"),
    need(SYSLINUX_MBR, "syslinux-common"),
    need("mformat", "mtools"),
    need("qemu-system-x86_64", "qemu-system-x86"),
    need("qemu-img", "qemu-utils"),
    need("syslinux", "syslinux"),
    need("mformat", "mtools"),
    need("qemu-storage-daemon", "qemu-system-common"),
    need(VIRTIOFSD, "qemu-system-common"),
    need("/usr/include/gelf.h", "libelf-dev"),
    need("/usr/include/stdio.h", "libc6-dev"),
    need(crate::guests::BUSYBOX, "busybox-static"),
    need(crate::guests::KERNEL_SOURCE, "linux-source-6.1"),
];

/// What the tests of `--slow` need besides.
const SLOW_NEEDS: &[Need] = &[
    need("grub-mkimage", "grub-common"),
    need("/usr/lib/grub/i386-pc/boot.img", "grub-pc-bin"),
    need("extlinux", "extlinux"),
    need("/usr/lib/ISOLINUX/isolinux.bin", "isolinux"),
    need("xorriso", "xorriso"),
];

/// What the benchmarks need besides.
const BENCH_NEEDS: &[Need] = &[need("strace", "strace")];

/// What that of firmware needs besides.
const BENCH_BIOS_NEEDS: &[Need] = &[
    need("perf", "linux-perf"),
    need("grub-mkimage", "grub-common"),
    need("/usr/lib/grub/i386-pc/boot.img", "grub-pc-bin"),
];

/// Makes the host ready for every chore but the benchmarks.
///
/// # Errors
/// When something is missing and cannot be installed from here; the error says what to do.
pub(crate) fn run() -> Result<()> {
    provide(NEEDS)?;
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if process::output(&mut process::cargo(&[subcommand, "--version"])).is_err() {
            bail!("`cargo {subcommand}` is missing: rustup component add {component}");
        }
    }
    Ok(())
}

/// Makes the host ready for the tests that take long.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_for_slow() -> Result<()> {
    run()?;
    provide(SLOW_NEEDS)
}

/// Makes the host ready for the benchmarks.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_for_bench() -> Result<()> {
    run()?;
    provide(BENCH_NEEDS)
}

/// Makes the host ready for the benchmark of firmware.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_for_bench_bios() -> Result<()> {
    run_for_bench()?;
    provide(BENCH_BIOS_NEEDS)
}

fn provide(needs: &[Need]) -> Result<()> {
    let packages = missing(needs, present);
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !process::exists("apt-get") {
        let what = needs.iter().filter(|need| !present(need.what));
        let what: Vec<_> = what.map(|need| need.what).collect();
        bail!(
            "this host lacks {} (Debian's packages: {list}); install them with its package manager",
            what.join(", ")
        );
    }
    let root = process::output(&mut process::command("id", &["-u"]))?.trim() == "0";
    if !root {
        bail!(
            "this host lacks packages; run: sudo apt-get update && sudo apt-get install --no-install-recommends {list}"
        );
    }
    println!("installing {list}");
    let mut update = process::command("apt-get", &["-qq", "update"]);
    process::run(&mut update)?;
    let mut install = process::command(
        "apt-get",
        &["-qq", "-y", "install", "--no-install-recommends"],
    );
    install
        .args(&packages)
        .env("DEBIAN_FRONTEND", "noninteractive");
    process::run(&mut install)?;
    let left = missing(needs, present);
    if !left.is_empty() {
        bail!("still missing after installing {list}: {}", left.join(" "));
    }
    Ok(())
}

fn present(what: &str) -> bool {
    if what == crate::guests::BUSYBOX {
        // Another package has one that needs libraries.
        crate::guests::has_static_busybox()
    } else if what == VIRTIOFSD {
        process::exists(what) || any_exists(PLACES_OF_VIRTIOFSD)
    } else if what == SYSLINUX_MBR {
        any_exists(PLACES_OF_SYSLINUX_MBR)
    } else if what.starts_with('/') {
        std::path::Path::new(what).exists()
    } else {
        process::exists(what)
    }
}

fn any_exists(places: &[&str]) -> bool {
    let mut places = places.iter();
    places.any(|place| std::path::Path::new(place).exists())
}

/// The packages of what is not present, each once.
fn missing(needs: &[Need], present: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut packages: Vec<_> = needs
        .iter()
        .filter(|need| !present(need.what))
        .map(|need| need.package)
        .collect();
    packages.dedup();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_installed() {
        let needs = [need("a", "one"), need("b", "one"), need("c", "two")];
        assert_eq!(missing(&needs, |_| false), ["one", "two"]);
        assert_eq!(missing(&needs, |what| what != "c"), ["two"]);
        assert!(missing(&needs, |_| true).is_empty());
    }
}
