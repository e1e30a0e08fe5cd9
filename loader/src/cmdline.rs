//! The command line in guest memory.

use vm_memory::{Bytes, GuestAddress, GuestMemory};

use crate::error::LoadError;
use crate::layout;

/// Writes `cmdline` with its NUL and returns its address. `max` is the most bytes that the kernel takes,
/// without the NUL.
pub(crate) fn write<M: GuestMemory>(memory: &M, cmdline: &str, max: u64) -> Result<u64, LoadError> {
    let bytes = checked(cmdline, max.min(layout::CMDLINE_SIZE - 1))?;
    let written = memory.write_slice(&bytes, GuestAddress(layout::CMDLINE));
    written.map_err(|source| LoadError::structure("command line", layout::CMDLINE, source))?;
    Ok(layout::CMDLINE)
}

/// The bytes of `cmdline` with its NUL. `max` is the most, without the NUL.
pub(crate) fn checked(cmdline: &str, max: u64) -> Result<Vec<u8>, LoadError> {
    let len = cmdline.len();
    if len as u64 > max {
        return Err(LoadError::CmdlineTooLong {
            len,
            max: usize::try_from(max).unwrap_or(usize::MAX),
        });
    }
    if let Some((position, byte)) = cmdline
        .bytes()
        .enumerate()
        .find(|(_, byte)| !matches!(byte, b' '..=b'~'))
    {
        return Err(LoadError::CmdlineByte { byte, position });
    }
    let mut bytes = cmdline.as_bytes().to_vec();
    bytes.push(0);
    Ok(bytes)
}
