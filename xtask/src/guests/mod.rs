//! The guests that tests boot. What is slow to make is kept in the cache, under a name with a key of what it was made from.

mod bare_metal;
mod foreign;
mod initramfs;
mod kernel;
mod key;
mod probe;
mod ring0;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

pub(crate) use foreign::{Foreign, download as download_foreign};
pub(crate) use initramfs::{BUSYBOX, has_static_busybox};
pub(crate) use kernel::SOURCE as KERNEL_SOURCE;

/// Those of our programs that run in guests, each a workspace of its own: their manifests.
pub(crate) const MANIFESTS: [&str; 2] = [bare_metal::MANIFEST, probe::MANIFEST];

/// Where the guests are.
#[derive(Clone, Debug)]
pub(crate) struct Guests {
    /// The bare-metal guest, an ELF with a PVH note.
    pub(crate) bare_metal: PathBuf,
    /// Linux as ELF.
    pub(crate) vmlinux: PathBuf,
    /// The same Linux as bzImage.
    pub(crate) bzimage: PathBuf,
    /// An initial RAM disk for it.
    pub(crate) initramfs: PathBuf,
}

impl Guests {
    /// Tells the tests where the guests are.
    pub(crate) fn announce(&self, command: &mut Command) {
        command
            .env("TRIVISOR_TEST_BARE_METAL", &self.bare_metal)
            .env("TRIVISOR_TEST_VMLINUX", &self.vmlinux)
            .env("TRIVISOR_TEST_BZIMAGE", &self.bzimage)
            .env("TRIVISOR_TEST_INITRAMFS", &self.initramfs);
    }
}

impl fmt::Display for Guests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "bare metal  {}", self.bare_metal.display())?;
        writeln!(f, "vmlinux     {}", self.vmlinux.display())?;
        writeln!(f, "bzImage     {}", self.bzimage.display())?;
        write!(f, "initramfs   {}", self.initramfs.display())
    }
}

/// Makes all guests.
///
/// # Errors
/// When a build fails, or its result is not what it has to be.
pub(crate) fn make() -> Result<Guests> {
    let cache = crate::workspace::cache()?;
    let bare_metal = bare_metal()?;
    let initramfs = initramfs::make(&cache).context("initial RAM disk")?;
    let kernel::Kernel { vmlinux, bzimage } = kernel::make(&cache).context("Linux guest")?;
    Ok(Guests {
        bare_metal,
        vmlinux,
        bzimage,
        initramfs,
    })
}

/// Makes the bare-metal guest alone: a matter of seconds.
///
/// # Errors
/// When it does not build, or its ring 0 has an instruction that some hosts cannot emulate.
pub(crate) fn bare_metal() -> Result<PathBuf> {
    bare_metal::make().context("bare-metal guest")
}

/// Puts a finished file in its place in one step, so that nobody meets half of it.
fn publish(contents: &[u8], place: &Path) -> Result<()> {
    let Some(name) = place.file_name() else {
        bail!("{} names no file", place.display());
    };
    let name = format!(".{}.{}", name.to_string_lossy(), std::process::id());
    let draft = place.with_file_name(name);
    std::fs::write(&draft, contents).with_context(|| draft.display().to_string())?;
    std::fs::rename(&draft, place).with_context(|| place.display().to_string())
}
