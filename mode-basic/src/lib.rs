#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

#[cfg(feature = "board")]
pub mod board;
pub mod debug_exit;
#[cfg(feature = "board")]
mod dsdt;
pub mod i8042;
pub mod ioapic;
#[cfg(feature = "board")]
pub mod map;
pub mod pmem;
pub mod power;
pub mod pvpanic;
pub mod rtc;
pub mod uart;
pub mod vmgenid;
