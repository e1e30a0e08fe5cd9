#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

pub mod device;
pub mod features;
pub mod queue;

pub use device::{DeviceType, Io, VirtioDevice};
pub use features::Feature;
pub use queue::{Chain, Queue, QueueError};
