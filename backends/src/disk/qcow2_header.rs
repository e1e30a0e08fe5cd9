//! What has to be right in the header of a qcow2 before imago reads it (QEMU, `docs/interop/qcow2.rst`, "Header
//! extensions"): imago 0.2.6 panics at a feature name table that ends within an entry.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Where a header of version 3 says how long it is.
const HEADER_LENGTH: u64 = 100;

/// Bytes of the largest cluster; all extensions lie in the first one.
const MAX_CLUSTER: u64 = 2 << 20;

/// Type of the table of feature names.
const FEATURE_NAMES: u32 = 0x6803_f857;

/// Bytes of its entries.
const FEATURE_NAME: u32 = 48;

/// Walks the extensions.
///
/// # Errors
/// `InvalidData`: a table of feature names with a part of an entry. Others: it cannot be read.
pub(crate) fn check(file: &File) -> io::Result<()> {
    let word = |offset| -> io::Result<u32> {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(u32::from_be_bytes(bytes))
    };
    // The version; the older one has no extensions. What else may be wrong, imago says.
    if word(4)? != 3 {
        return Ok(());
    }
    let mut offset = u64::from(word(HEADER_LENGTH)?);
    while offset < MAX_CLUSTER {
        let (kind, len) = (word(offset)?, word(offset + 4)?);
        if kind == FEATURE_NAMES && !len.is_multiple_of(FEATURE_NAME) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "its table of feature names has {len} bytes, no multiple of {FEATURE_NAME}"
                ),
            ));
        }
        if kind == 0 {
            break;
        }
        offset += 8 + u64::from(len).next_multiple_of(8);
    }
    Ok(())
}
