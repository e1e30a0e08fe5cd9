//! What can be wrong with a kernel. Errors name the field and its value; the caller knows the file.

use std::io;

use thiserror::Error;
use vm_memory::GuestMemoryError;

use crate::decompress::Compression;

/// A guest that cannot be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{what} cannot be read")]
    Read {
        /// Which part.
        what: &'static str,
        /// What the host said.
        source: io::Error,
    },
    /// The file ends in the middle of something.
    #[error(
        "{what}: {wanted} bytes at offset {offset:#x} are behind the end of the file, {size:#x}"
    )]
    Truncated {
        /// Which part.
        what: &'static str,
        /// Where it starts in the file.
        offset: u64,
        /// Bytes needed.
        wanted: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// Nothing in the file.
    #[error("the {what} is empty")]
    Empty {
        /// Which file.
        what: &'static str,
    },
    /// No format that we know.
    #[error(
        "no kernel format: the file begins with {magic:#010x}, and is no ELF, bzImage or multiboot image"
    )]
    Format {
        /// Its first four bytes, little-endian.
        magic: u32,
    },
    /// A field has a value that is impossible or not supported.
    #[error("{format}: {field} is {value:#x}, {wanted}")]
    Field {
        /// Which format.
        format: &'static str,
        /// The field's name in its specification.
        field: &'static str,
        /// What it holds.
        value: u64,
        /// What would be right.
        wanted: &'static str,
    },
    /// A kernel for another kind of processor.
    #[error("ELF: e_machine is {machine} ({name}), not 62 (x86-64) or 3 (80386)")]
    Machine {
        /// e_machine.
        machine: u16,
        /// Its name.
        name: &'static str,
    },
    /// The image lacks something that it needs.
    #[error("{format}: no {missing}")]
    Missing {
        /// Which format.
        format: &'static str,
        /// What is missing.
        missing: &'static str,
    },
    /// A compression without a decompressor.
    #[error("bzImage: its payload is compressed with {0}, which is not supported")]
    Compression(Compression),
    /// The compressed payload is damaged.
    #[error("bzImage: its payload cannot be decompressed from {compression}")]
    Decompress {
        /// How it is compressed.
        compression: Compression,
        /// What is wrong.
        source: io::Error,
    },
    /// More than the guest can hold.
    #[error("{what} has more than {max:#x} bytes, the most that its memory takes")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// The most.
        max: u64,
    },
    /// The kernel does not lie in memory.
    #[error("{what}: {size:#x} bytes at {address:#x} do not lie in the guest's memory")]
    OutsideMemory {
        /// Which part.
        what: &'static str,
        /// Guest-physical address.
        address: u64,
        /// Bytes.
        size: u64,
    },
    /// A part of the kernel would overwrite something else.
    #[error("{what} at {start:#x}..{end:#x} overlaps {other} at {other_start:#x}..{other_end:#x}")]
    Overlap {
        /// Which part.
        what: &'static str,
        /// Its first address.
        start: u64,
        /// The address behind it.
        end: u64,
        /// What is there.
        other: &'static str,
        /// Its first address.
        other_start: u64,
        /// The address behind it.
        other_end: u64,
    },
    /// No room for the initial RAM disk.
    #[error(
        "the initial RAM disk of {size} bytes does not fit between the kernel's end {kernel_end:#x} and {limit:#x}"
    )]
    InitrdTooLarge {
        /// Bytes.
        size: u64,
        /// Where the kernel ends.
        kernel_end: u64,
        /// The highest address that it may reach.
        limit: u64,
    },
    /// The command line is too long.
    #[error("the command line has {len} bytes, the kernel takes {max}")]
    CmdlineTooLong {
        /// Bytes.
        len: usize,
        /// The most.
        max: usize,
    },
    /// The command line has a character that it cannot have.
    #[error(
        "the command line has byte {byte:#04x} at {position}: only printable ASCII is possible"
    )]
    CmdlineByte {
        /// The byte.
        byte: u8,
        /// Where.
        position: usize,
    },
    /// A structure of ours does not lie in memory.
    #[error("the {what} at {address:#x} does not lie in the guest's memory")]
    Structure {
        /// Which one.
        what: &'static str,
        /// Guest-physical address.
        address: u64,
        /// Why.
        source: GuestMemoryError,
    },
}

impl LoadError {
    pub(crate) const fn structure(
        what: &'static str,
        address: u64,
        source: GuestMemoryError,
    ) -> Self {
        Self::Structure {
            what,
            address,
            source,
        }
    }

    pub(crate) const fn field(
        format: &'static str,
        field: &'static str,
        value: u64,
        wanted: &'static str,
    ) -> Self {
        Self::Field {
            format,
            field,
            value,
            wanted,
        }
    }
}
