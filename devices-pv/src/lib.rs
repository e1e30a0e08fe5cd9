#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

pub mod balloon;
pub mod block;
#[cfg(feature = "board")]
pub mod board;
pub mod console;
#[cfg(feature = "board")]
mod dsdt;
pub mod input;
#[cfg(feature = "board")]
pub mod map;
pub mod net;
pub mod pmem;
pub mod rng;
pub mod vhost_user;
pub mod vsock;

#[cfg(test)]
mod golden;
