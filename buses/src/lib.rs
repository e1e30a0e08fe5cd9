#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

pub mod access;
pub mod board;
pub mod character;
pub mod component;
pub mod dma;
pub mod doorbell;
pub mod events;
pub mod line;
pub mod msi;
pub mod routing;
pub mod shell;
pub mod slots;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;

#[cfg(test)]
mod tests;

pub use access::{AccessError, MmioDevice, PortDevice, Unfit, Widths};
pub use board::{Board, FitError};
pub use character::{CharInput, CharOutput};
pub use component::{Component, RestoreError, SavedState};
pub use dma::{Dma, DmaError};
pub use doorbell::{Doorbell, DoorbellAddress};
pub use events::{EventSink, MachineEvent, PowerButton};
pub use line::{Line, LineEnd, Wire};
pub use msi::{EoiTarget, Msi, MsiSink, PinRoutes};
pub use routing::{Bus, MmioBus, Overlap, PortBus};
pub use shell::Shell;
pub use slots::{Fitted, Host, Installed, Slots};
pub use time::{Clock, GuestTime, Timer, WallClock};
pub use vm_device::bus::{MmioAddress, MmioRange, PioAddress, PioRange};
