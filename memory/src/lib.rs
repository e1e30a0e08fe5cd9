#![doc = include_str!("../README.md")]
#![warn(clippy::indexing_slicing)]

mod backing;
mod dirty;
mod discard;
mod layout;
mod mapping;
mod ram;
mod slot;

#[cfg(test)]
mod tests;

pub use backing::{Backing, HugePages};
pub use dirty::DirtyLog;
pub use discard::DiscardError;
pub use layout::{HOLE_END, HOLE_START, PAGE_SIZE, RamLayout, RamRange};
pub use mapping::{FileMapping, MappingError};
pub use ram::{DirtyPages, GuestRam, RamError, RamOptions, SharedRun, host_memory};
pub use slot::{Slot, SlotKind};
pub use vm_memory;
