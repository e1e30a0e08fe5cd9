#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

pub mod access;
pub mod board;
pub mod character;
pub mod component;
pub mod dma;
pub mod dma_channel;
pub mod doorbell;
pub mod entropy;
pub mod events;
pub mod input;
pub mod line;
pub mod msi;
pub mod packets;
pub mod pages;
pub mod posted;
pub mod reclaim;
pub mod routing;
pub mod screen;
pub mod segment;
pub mod served;
pub mod shadow;
pub mod shell;
pub mod slots;
pub mod storage;
pub mod streams;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod wake;

#[cfg(test)]
mod tests;

pub use access::{AccessError, MmioDevice, PortDevice, Unfit, Widths};
pub use board::{Board, FitError};
pub use character::{CharInput, CharOutput};
pub use component::{Component, RestoreError, SavedState};
pub use dma::{Dma, DmaError};
pub use dma_channel::{DmaChannel, DmaMoved};
pub use doorbell::{Doorbell, DoorbellAddress, Doorbells};
pub use entropy::Entropy;
pub use events::{EventSink, MachineEvent, MemoryBalloon, PowerButton};
pub use input::{Keyboard, Motion, Pointer};
pub use line::{InterruptPins, Line, LineEnd, Wire};
pub use msi::{EoiTarget, Msi, MsiSink, PinRoutes};
pub use packets::{Offloads, Packets};
pub use pages::PageMapper;
pub use posted::{Posted, PostedPlaces};
pub use reclaim::Reclaim;
pub use routing::{Bus, MmioBus, Overlap, PortBus};
pub use screen::{FrameSink, Screen, TextGrid};
pub use segment::Segment;
pub use served::{QueueServer, ServedQueue, ServerEvent};
pub use shadow::{Responder, ShadowMap, ShadowRun};
pub use shell::Shell;
pub use slots::{Alias, Fitted, Host, Installed, Slots};
pub use storage::{
    BufferRequest, Completion, DiscDrive, DiscError, Geometry, MAX_BUFFER, Storage, StorageBusy,
    StorageOp, StorageRequest,
};
pub use streams::{StreamEnd, StreamEvent, StreamHost, StreamId};
pub use time::{Clock, GuestTime, Timer, TimerEnd, Timers, WallClock};
pub use vm_device::bus::{MmioAddress, MmioRange, PioAddress, PioRange};
pub use wake::{Look, Source, Wake, Woken, Work};
