//! A level-triggered pin of the I/O APIC, shared by as many devices as pull it.
//!
//! Some hosts (KVM on PVM) end an interrupt when they deliver it. There the I/O APIC sends it again at once if the
//! line is still high, so behind each interrupt that was served one more is on its way.

use core::sync::atomic::Ordering;

use crate::apic;
use crate::ioapic::IoApic;
use crate::ring0;
use crate::script::{Failure, expect};

const VECTOR: u8 = 0x36;
/// Seconds.
const PATIENCE: u32 = 60;

/// Waits for an interrupt of a vector after `seen` of them.
///
/// # Errors
/// [`Failure::Timeout`].
pub fn wait_for(vector: u8, seen: u32) -> Result<(), Failure> {
    let came = (0..PATIENCE).any(|_| apic::wait_for(vector, seen));
    came.then_some(()).ok_or(Failure::Timeout("interrupt"))
}

/// Waits a second for an interrupt that must not come.
///
/// # Errors
/// [`Failure::Mismatch`] when it does.
pub fn expect_none(vector: u8) -> Result<(), Failure> {
    let seen = ring0::interrupts(vector).load(Ordering::SeqCst);
    expect("interrupts", 0_u8, apic::wait_for(vector, seen))
}

/// A pin while a command uses it.
#[derive(Debug)]
pub struct Pin {
    ioapic: IoApic,
    pin: u8,
    /// Interrupts of the vector that the command knows of.
    seen: u32,
    in_service: bool,
    /// One more is on its way.
    twin: bool,
}

impl Pin {
    /// Lets the pin interrupt this processor.
    ///
    /// # Errors
    /// [`Failure::Absent`].
    pub fn route(pin: u8) -> Result<Self, Failure> {
        let ioapic = IoApic::find().ok_or(Failure::Absent("io_apic"))?;
        apic::enable();
        ring0::set_manual_eoi(VECTOR, true);
        let seen = taken();
        ioapic.route(pin, VECTOR, true);
        Ok(Self {
            ioapic,
            pin,
            seen,
            in_service: false,
            twin: false,
        })
    }

    /// Waits for the next interrupt; it is in service then.
    ///
    /// # Errors
    /// [`Failure::Timeout`].
    pub fn wait(&mut self) -> Result<(), Failure> {
        wait_for(VECTOR, self.seen)?;
        self.in_service = apic::is_in_service(VECTOR);
        self.seen = self.seen.wrapping_add(1);
        let come = taken();
        // Where there is one more, it is on its way or has come already.
        if !self.in_service && come == self.seen.wrapping_add(1) {
            self.seen = come;
            self.twin = false;
        } else {
            self.twin = !self.in_service;
        }
        expect("interrupts", self.seen, come)
    }

    /// Ends the interrupt in service; what pulls the line then interrupts again.
    pub fn end(&mut self) {
        if self.in_service {
            self.in_service = false;
            apic::end_of_interrupt();
        }
    }

    /// Ends the interrupt in service, when nothing pulls the line any more.
    ///
    /// # Errors
    /// [`Failure::Timeout`].
    pub fn end_low(&mut self) -> Result<(), Failure> {
        self.end();
        if self.twin {
            self.wait()?;
            self.twin = false;
        }
        Ok(())
    }

    /// Waits a second for an interrupt that must not come.
    ///
    /// # Errors
    /// [`Failure::Mismatch`] when it does.
    pub fn expect_none(&mut self) -> Result<(), Failure> {
        let result = expect_none(VECTOR);
        self.in_service |= result.is_err();
        result
    }
}

/// Interrupts of the vector so far.
fn taken() -> u32 {
    ring0::interrupts(VECTOR).load(Ordering::SeqCst)
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.ioapic.mask(self.pin);
        if self.in_service {
            apic::end_of_interrupt();
        }
        ring0::set_manual_eoi(VECTOR, false);
    }
}
