#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

#[cfg(feature = "board")]
pub mod board;
#[cfg(feature = "board")]
mod boot_order;
#[cfg(feature = "board")]
mod cmos;
pub mod debugcon;
#[cfg(feature = "board")]
mod dsdt;
pub mod fw_cfg;
pub mod i440fx;
pub mod i8042;
pub mod i82077;
pub mod i8237;
pub mod ide;
mod link;
#[cfg(feature = "board")]
pub mod map;
pub mod piix3;
pub mod piix4_pm;
#[cfg(test)]
mod registers;
pub mod vga;
