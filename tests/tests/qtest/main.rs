//! Chips against a second implementation: the same steps on ours and on QEMU's, which its qtest socket drives.
//!
//! A script is text, a step a line, and is run on both; what is read has to be the same. Where ours differs for a
//! reason that the chip's header tells, a step says what each of both reads; when they come to agree, that is an error
//! too. No vCPU runs in QEMU, and no clock.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod floppy;
mod ide;
mod ours;
mod qemu;
mod script;
mod vga;

/// Whether QEMU is there; a test that is left out says so.
fn qemu_is_there(test: &str) -> bool {
    let there = qemu::Qemu::is_installed();
    if !there {
        eprintln!("skipped without qemu-system-x86_64: {test}");
    }
    there
}
