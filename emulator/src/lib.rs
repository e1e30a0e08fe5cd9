#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod alu;
mod bits;
mod control;
mod cpu;
mod decode;
mod descriptor;
mod descriptor_checks;
mod exchange;
mod execute;
mod flags;
mod fxsave;
mod iret;
mod machine;
mod multiply;
mod operand;
mod outcome;
pub mod registers;
mod shift;
mod sse;
mod stack;
mod string;
mod system;
#[cfg(feature = "testing")]
pub mod testing;
mod width;
mod x87;
mod xsave;
mod xsave_area;
mod xsave_component;

pub use decode::step;
pub use machine::{Access, AccessError, AccessKind, Machine};
pub use outcome::{EmulateError, Event, InstructionBytes, Outcome};
pub use registers::{Changed, DescriptorTable, General, Registers, Segment, System};
pub use xsave_area::{XSAVE_AREA_SIZE, XsaveArea, component};
