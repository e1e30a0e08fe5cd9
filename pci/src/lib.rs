#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

pub mod address;
pub mod assign;
pub mod bars;
pub mod bus;
mod capability;
pub mod config;
pub mod ecam;
pub mod endpoint;
pub mod function;
pub mod host_bridge;
pub mod msi;
pub mod msix;
pub mod ports;
pub mod regs;
mod routes;
pub mod shell;
pub mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

#[cfg(test)]
mod tests;

pub use address::{DeviceFunction, InterruptPin, swizzle};
pub use assign::{AssignError, Windows};
pub use bars::{Bar, BarKind, BarSpace, BarWindow};
pub use bus::{AddError, RootBus};
pub use config::{ConfigError, ConfigSpace, Effects, Identity};
pub use ecam::Ecam;
pub use endpoint::Endpoint;
pub use function::{Effect, PciFunction};
pub use host_bridge::HostBridge;
pub use msi::MsiLayout;
pub use msix::MsixLayout;
pub use ports::ConfigPorts;
pub use regs::{Class, Command, Status};
pub use shell::FunctionShell;
pub use state::EndpointStateV1;
