#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

pub mod device;
pub mod drive;
pub mod features;
pub mod mmio;
#[cfg(feature = "pci")]
pub mod pci;
pub mod queue;
#[cfg(any(test, feature = "testing"))]
#[expect(
    clippy::indexing_slicing,
    reason = "what is wrong in a test has to panic"
)]
pub mod testing;
pub mod transport;

pub use device::{DeviceType, Io, VirtioDevice, read_config_bytes};
pub use drive::Drive;
pub use features::Feature;
pub use queue::{Area, Chain, Half, Queue, QueueError, QueueStateV1};
