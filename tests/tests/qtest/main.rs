//! Chips against a second implementation: the same steps on ours and on QEMU's, which its qtest socket drives.
//!
//! A script is text, a step a line, and is run on both; what is read has to be the same. Where ours differs for a
//! reason that the chip's header tells, a step says what each of both reads; when they come to agree, that is an error
//! too. No vCPU runs in QEMU, and no clock.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod bridges;
mod floppy;
mod fw_cfg;
mod i8042;
mod ide;
mod ours;
mod pm;
mod qemu;
mod rtc;
mod script;
mod vga;
