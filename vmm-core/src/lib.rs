#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod boot;
mod clock;
mod config;
mod control;
mod crash;
mod events;
mod machine;
mod outcome;
mod patience;
mod timers;
mod vcpu_thread;
#[cfg(all(feature = "pv", feature = "hvm"))]
mod virtio_cards;

#[cfg(feature = "hvm")]
pub use config::PcConfig;
#[cfg(feature = "pv")]
pub use config::VirtioConfig;
pub use config::{BootConfig, CoreConfig, MachineConfig, Mode};
pub use crash::{CrashCause, CrashReport};
pub use events::EventLoop;
pub use machine::{FirstAct, FirstVcpu, MAX_VCPUS, Machine, MachineError, Statistics};
pub use outcome::{HostFailure, Outcome};
