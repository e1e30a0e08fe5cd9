#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

pub mod acpi;
mod boot_state;
pub mod bzimage;
mod cmdline;
mod decompress;
pub mod elf;
mod error;
mod initrd;
pub mod layout;
mod linux;
mod load;
pub mod mp_table;
mod multiboot;
pub mod multiboot1;
pub mod multiboot2;
mod pvh;
mod room;
pub mod smbios;
mod source;

#[cfg(test)]
mod tests;

pub use boot_state::{BootState, DescriptorTable, Segment};
pub use decompress::Compression;
pub use error::LoadError;
pub use load::{BootProtocol, Guest, MemoryKind, MemoryRegion, load};
pub use source::Source;
