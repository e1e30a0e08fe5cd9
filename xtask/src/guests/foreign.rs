//! Images that we did not write, from Debian's packages: what `--slow` boots.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fmt, fs};

use anyhow::{Context, Result, bail};

use super::key::Key;
use super::publish;
use crate::process::{self, command};

const RECIPE: &str = "foreign 1";

/// A file of a package.
#[derive(Debug)]
struct Image {
    /// By which variable tests are told of it.
    variable: &'static str,
    package: &'static str,
    /// How its path in the package begins; a gzip archive is unpacked.
    path: &'static str,
    /// How its file in the cache is called.
    name: &'static str,
}

const IMAGES: &[Image] = &[
    Image {
        variable: "TRIVISOR_TEST_DEBIAN_KERNEL",
        // Empty but for a dependency on the kernel's package, which has the version in its name.
        package: "linux-image-cloud-amd64",
        path: "boot/vmlinuz-",
        name: "debian-cloud-kernel",
    },
    Image {
        variable: "TRIVISOR_TEST_XEN",
        package: "xen-hypervisor-4.17-amd64",
        path: "boot/xen-4.17-amd64.gz",
        name: "xen",
    },
    Image {
        variable: "TRIVISOR_TEST_XEN_SHIM",
        package: "xen-utils-4.17",
        path: "usr/lib/xen-4.17/boot/xen-shim",
        name: "xen-shim",
    },
    Image {
        variable: "TRIVISOR_TEST_INVADERS",
        package: "grub-invaders",
        path: "boot/invaders.exec",
        name: "invaders",
    },
    Image {
        variable: "TRIVISOR_TEST_MEMTEST",
        package: "memtest86+",
        path: "boot/memtest86+x64.bin",
        name: "memtest",
    },
    Image {
        variable: "TRIVISOR_TEST_MEMTEST_CD",
        package: "memtest86+",
        path: "usr/lib/memtest86+/memtest86+x64.iso",
        name: "memtest-cd",
    },
    Image {
        variable: "TRIVISOR_TEST_GRUB_RESCUE",
        package: "grub-rescue-pc",
        path: "usr/lib/grub-rescue/grub-rescue-cdrom.iso",
        name: "grub-rescue",
    },
    Image {
        variable: "TRIVISOR_TEST_IPXE_CD",
        package: "ipxe",
        path: "usr/lib/ipxe/ipxe.iso",
        name: "ipxe-cd",
    },
];

/// Where these images are.
#[derive(Debug)]
pub(crate) struct Foreign(Vec<(&'static str, PathBuf)>);

impl Foreign {
    /// Tells the tests where they are.
    pub(crate) fn announce(&self, command: &mut Command) {
        for (variable, place) in &self.0 {
            command.env(variable, place);
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (image, (_, place)) in IMAGES.iter().zip(&self.0) {
            writeln!(f, "{:<20}{}", image.name, place.display())?;
        }
        Ok(())
    }
}

/// Downloads what the cache lacks.
///
/// # Errors
/// A system without Debian's packages, or without a way to them.
pub(crate) fn download() -> Result<Foreign> {
    let cache = crate::workspace::cache()?;
    if !process::exists("apt-get") || !process::exists("dpkg-deb") {
        bail!("--slow boots images of Debian's packages, and this system has no apt-get");
    }
    let images = IMAGES.iter().map(|image| {
        let place = provide(image, &cache).with_context(|| image.package.to_owned())?;
        Ok((image.variable, place))
    });
    images.collect::<Result<_>>().map(Foreign)
}

fn provide(image: &Image, cache: &Path) -> Result<PathBuf> {
    let mut record = record(image.package);
    if record.is_err() {
        // A system that has never asked for the lists of packages, or has dropped them.
        process::run(&mut command("apt-get", &["-qq", "update"]))?;
        record = self::record(image.package);
    }
    let record = record?;
    let package = real_package(&record, image.package);
    let version = field(&record, "Version").context("its record has no version")?;
    let key = Key::new(RECIPE)
        .with(package.as_bytes())
        .with(version.as_bytes())
        .name();
    let place = cache.join(format!("{}-{key}", image.name));
    if !place.exists() {
        println!("downloading {package} {version}");
        let folder = cache.join(format!("{}-{key}.{}", image.name, std::process::id()));
        fs::create_dir_all(&folder)?;
        let taken = take(package, image.path, &folder).and_then(|file| publish(&file, &place));
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        taken?;
    }
    Ok(place)
}

/// What the lists of packages say of the version that would be installed.
fn record(package: &str) -> Result<String> {
    let record = process::output(&mut command(
        "apt-cache",
        &["show", "--no-all-versions", package],
    ))?;
    if record.trim().is_empty() {
        bail!("no package of this name");
    }
    Ok(record)
}

fn field<'a>(record: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    record.lines().find_map(value).map(str::trim)
}

/// The kernel's package behind the one that only depends on it.
fn real_package<'a>(record: &'a str, package: &'a str) -> &'a str {
    let depends = field(record, "Depends").unwrap_or_default();
    let mut names = depends
        .split(',')
        .filter_map(|one| one.split_whitespace().next());
    let kernel = |name: &&str| name.starts_with("linux-image-");
    match names.find(kernel) {
        Some(name) if package.starts_with("linux-image-") => name,
        _ => package,
    }
}

/// Downloads and unpacks a package in `folder`, and reads the file of it.
fn take(package: &str, path: &str, folder: &Path) -> Result<Vec<u8>> {
    // Root's download needs no other user, who could not write here.
    let mut download = command("apt-get", &["-qq", "-o", "APT::Sandbox::User=root"]);
    process::run(download.args(["download", package]).current_dir(folder))?;
    let archive = files(folder)?.pop().context("nothing was downloaded")?;
    let tree = folder.join("tree");
    process::run(command("dpkg-deb", &["-x"]).arg(archive).arg(&tree))?;
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let begins = |file: &PathBuf| {
        let file = file.file_name().and_then(|file| file.to_str());
        file.is_some_and(|file| file.starts_with(name))
    };
    let mut files = files(&tree.join(parent))?.into_iter();
    let file = files
        .find(begins)
        .with_context(|| format!("it has no {path}"))?;
    if file.extension().is_some_and(|extension| extension == "gz") {
        process::run(command("gzip", &["-d"]).arg(&file))?;
        return Ok(fs::read(file.with_extension(""))?);
    }
    Ok(fs::read(file)?)
}

/// The files of a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut files: Vec<_> = paths.collect::<Result<_>>()?;
    files.retain(|path| path.is_file());
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: &str = "Package: linux-image-cloud-amd64\nVersion: 6.1.192-2\n\
                        Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)\nSize: 1\n";

    #[test]
    fn the_package_that_is_depended_on_has_the_kernel() {
        let real = real_package(META, "linux-image-cloud-amd64");
        assert_eq!(real, "linux-image-6.1.0-56-cloud-amd64");
        let other = "Package: xen\nDepends: a, linux-image-x | b\n";
        assert_eq!(real_package(other, "xen"), "xen");
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        assert_eq!(field(META, "Version"), Some("6.1.192-2"));
        assert_eq!(field(META, "Vers"), None);
        assert_eq!(field(META, "Breaks"), None);
    }
}
