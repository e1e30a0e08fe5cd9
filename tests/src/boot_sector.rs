//! Disks that boot a program of a test's own.

use std::fs;
use std::path::{Path, PathBuf};

/// Writes an image of so many bytes, called `disk.img`, whose boot sector is this program, of 510 bytes at most.
///
/// # Panics
/// When the program is too long, or the folder takes no file.
#[must_use]
pub fn bootable_disk(folder: &Path, program: &[u8], size: usize) -> PathBuf {
    assert!(program.len() <= 510, "{} bytes", program.len());
    let mut bytes = program.to_vec();
    bytes.resize(510, 0);
    bytes.extend([0x55, 0xaa]);
    bytes.resize(size, 0);
    let path = folder.join("disk.img");
    fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}
