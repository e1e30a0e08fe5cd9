#![doc = include_str!("../README.md")]

mod beside;
mod cpu_table;
mod cpuid;
mod doorbell;
mod exit;
mod finish;
mod host;
mod irqchip;
mod kick;
mod msr;
pub mod paging;
mod physical;
mod posted;
pub mod quirks;
mod registers;
mod slots;
mod statistics;
mod vcpu;
mod vm;

#[cfg(test)]
mod tests;

pub use beside::{Errand, Errands};
pub use doorbell::VmDoorbells;
pub use exit::{Exit, Io, RunError};
pub use host::{HostKind, Kvm, KvmError};
pub use irqchip::{IrqchipKind, KernelPins, LocalApics};
pub use kick::{Kicker, install_kick_handler};
pub use physical::PhysicalMemory;
pub use posted::{PostedWrites, VmPosted};
pub use slots::MemorySlots;
pub use statistics::{Statistics, StatisticsFile};
pub use vcpu::{Vcpu, VcpuRegisters};
pub use vm::{Vm, VmError};
