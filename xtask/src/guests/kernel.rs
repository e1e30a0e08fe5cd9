//! Linux, unpatched, from the distribution's source package and our configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::key::Key;
use super::publish;
use crate::process::{self, command, run_logged};

/// The source, as Debian's package `linux-source-6.1` installs it.
pub(crate) const SOURCE: &str = "/usr/src/linux-source-6.1.tar.xz";
const PACKAGE: &str = "linux-source-6.1";
const CONFIGURATION: &str = "guests/linux/kernel.config";
const RECIPE: &str = "linux 1";

/// The same kernel twice.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) vmlinux: PathBuf,
    pub(super) bzimage: PathBuf,
}

pub(super) fn make(cache: &Path) -> Result<Kernel> {
    let configuration = crate::workspace::root().join(CONFIGURATION);
    let wanted = fs::read_to_string(&configuration).context(CONFIGURATION)?;
    let key = Key::new(RECIPE)
        .with(wanted.as_bytes())
        .with(source_version()?.as_bytes())
        .with(process::output(&mut command("cc", &["-dumpfullversion"]))?.as_bytes())
        .name();
    let kernel = Kernel {
        vmlinux: cache.join(format!("vmlinux-{key}")),
        bzimage: cache.join(format!("bzImage-{key}")),
    };
    if kernel.vmlinux.exists() && kernel.bzimage.exists() {
        return Ok(kernel);
    }
    // The number of this process keeps two runs apart; what a killed run left behind is removed with the key's next build.
    let folder = cache.join(format!("linux-{key}.{}", std::process::id()));
    remove_old(cache, &format!("linux-{key}."))?;
    let log = cache.join(format!("linux-{key}.log"));
    let _absent = fs::remove_file(&log);
    println!("building Linux, some minutes; log: {}", log.display());
    let start = Instant::now();
    let built = build(&folder, &configuration, &wanted, &log).and_then(|()| keep(&folder, &kernel));
    fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    built?;
    println!("built Linux in {} s", start.elapsed().as_secs());
    Ok(kernel)
}

/// The version of the source: the package's, or where there is no such package, the archive's size.
fn source_version() -> Result<String> {
    let mut query = command("dpkg-query", &["-W", "-f=${Version}", PACKAGE]);
    if let Ok(version) = process::output(&mut query) {
        return Ok(version);
    }
    let archive = fs::metadata(SOURCE).context(SOURCE)?;
    Ok(format!("{} bytes", archive.len()))
}

/// Removes the build folders of runs that have ended.
fn remove_old(cache: &Path, prefix: &str) -> Result<()> {
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(prefix));
        let process = process.and_then(|number| number.parse::<u32>().ok());
        if process.is_some_and(|number| !Path::new(&format!("/proc/{number}")).exists()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn build(folder: &Path, configuration: &Path, wanted: &str, log: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut unpack = command(
        "tar",
        &["--extract", "--strip-components=1", "--file", SOURCE],
    );
    run_logged(unpack.arg("--directory").arg(folder), log)?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let make = |words: &[&str]| {
        let mut make = command("make", words);
        // Nothing of this host and this day gets in: the same key is the same kernel.
        make.arg("--silent")
            .arg(format!("--jobs={jobs}"))
            .current_dir(folder)
            .env("KCONFIG_ALLCONFIG", configuration)
            .env("KBUILD_BUILD_USER", "trivisor")
            .env("KBUILD_BUILD_HOST", "trivisor")
            .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970")
            .env("KBUILD_BUILD_VERSION", "1")
            .env_remove("MAKEFLAGS")
            .env_remove("MAKELEVEL");
        run_logged(&mut make, log)
    };
    make(&["allnoconfig"])?;
    let resolved = fs::read_to_string(folder.join(".config"))?;
    check_configuration(wanted, &resolved)?;
    make(&["vmlinux", "bzImage"])
}

/// Checks that each line of ours is in force.
fn check_configuration(wanted: &str, resolved: &str) -> Result<()> {
    let in_force: std::collections::HashSet<_> = resolved.lines().collect();
    let lost: Vec<_> = wanted
        .lines()
        .filter(|line| match line.strip_prefix("# CONFIG_") {
            // What is off may also be absent, when what it depends on is off.
            Some(rest) => rest.strip_suffix(" is not set").is_some_and(|name| {
                let on = format!("CONFIG_{name}=");
                resolved.lines().any(|line| line.starts_with(&on))
            }),
            None => line.starts_with("CONFIG_") && !in_force.contains(line),
        })
        .collect();
    if !lost.is_empty() {
        bail!(
            "the kernel's own dependencies drop lines of {CONFIGURATION}: {}",
            lost.join(", ")
        );
    }
    Ok(())
}

fn keep(folder: &Path, kernel: &Kernel) -> Result<()> {
    let stripped = folder.join("vmlinux.stripped");
    let mut strip = command("strip", &["--strip-debug", "-o"]);
    process::run(strip.arg(&stripped).arg(folder.join("vmlinux")))?;
    let bzimage = folder.join("arch/x86/boot/bzImage");
    publish(&fs::read(bzimage)?, &kernel.bzimage)?;
    publish(&fs::read(stripped)?, &kernel.vmlinux)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESOLVED: &str = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_N=64\nCONFIG_C=y\n";

    #[test]
    fn a_configuration_in_force_passes() {
        let wanted =
            "# words\n\nCONFIG_A=y\nCONFIG_N=64\n# CONFIG_B is not set\n# CONFIG_X is not set\n";
        check_configuration(wanted, RESOLVED).unwrap();
    }

    #[test]
    fn each_lost_line_is_named() {
        let wanted = "CONFIG_A=y\nCONFIG_B=y\nCONFIG_N=8\nCONFIG_X=y\n# CONFIG_C is not set\n";
        let error = check_configuration(wanted, RESOLVED).unwrap_err();
        let list = "CONFIG_B=y, CONFIG_N=8, CONFIG_X=y, # CONFIG_C is not set";
        assert!(error.to_string().ends_with(list), "{error}");
    }
}
