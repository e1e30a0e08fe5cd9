//! Hosts for devices under test: a stepped clock, recording wires, a whole test host.

mod check;
mod golden;
mod host;
mod storage;

pub use check::{check_mmio, check_ports};
pub use golden::check_golden;
pub use host::{Recorder, TestHost, TestMemory};
pub use storage::MemoryStorage;
