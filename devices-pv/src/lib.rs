#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

pub mod balloon;
pub mod block;
pub mod console;
pub mod input;
pub mod net;
pub mod pmem;
pub mod rng;
pub mod vsock;
