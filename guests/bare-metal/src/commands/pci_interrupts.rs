//! How PCI functions interrupt: by a pin that they share, by messages that are masked and pending. Disks serve as
//! what interrupts.

use core::sync::atomic::Ordering;

use virtio_drivers::transport::DeviceType;

use super::Command;
use super::block::Read;
use crate::apic;
use crate::cpu;
use crate::pci::{COMMAND_INTERRUPT_DISABLE, Common, STATUS_INTERRUPT};
use crate::pin::{self, Pin};
use crate::ring0;
use crate::say;
use crate::script::{Failure, Words, expect};
use crate::virtio;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "intx",
        usage: "DISK DISK",
        run: intx,
    },
    Command {
        name: "msix",
        usage: "DISK",
        run: msix,
    },
];

const VECTOR: u8 = 0x37;
const OTHER_VECTOR: u8 = 0x38;
const QUEUE_0: u64 = 0;
/// The vector that the test gives queue 0.
const ENTRY: u64 = 1;
const NO_VECTOR: u16 = 0xffff;
const ISR_QUEUE: u32 = 1;

/// Two disks pull the same pin: it interrupts until both have been served.
fn intx(mut words: Words<'_>) -> Result<(), Failure> {
    let one = virtio::device(DeviceType::Block, &mut words)?;
    let other = virtio::device(DeviceType::Block, &mut words)?;
    let (first, second) = (one.function()?, other.function()?);
    expect("line", one.pin, other.pin)?;
    let (mut one, mut other) = (Read::open(&one)?, Read::open(&other)?);
    let mut pin = Pin::route(first.line())?;

    one.start(0)?;
    other.start(0)?;
    one.finish()?;
    other.finish()?;
    pin.wait()?;
    expect("isr", ISR_QUEUE, one.isr())?;
    expect("isr read", 0_u8, one.isr())?;
    pin.end();
    // The other still pulls.
    pin.wait()?;
    expect("isr", ISR_QUEUE, other.isr())?;
    pin.end_low()?;
    pin.expect_none()?;

    // A pin that is not used: the status register alone tells.
    let command = second.command();
    second.set_command(command | COMMAND_INTERRUPT_DISABLE);
    other.start(1)?;
    other.finish()?;
    pin.expect_none()?;
    expect(
        "status",
        STATUS_INTERRUPT,
        second.status() & STATUS_INTERRUPT,
    )?;
    second.set_command(command);
    pin.wait()?;
    expect("isr", ISR_QUEUE, other.isr())?;
    expect("status", 0_u8, second.status() & STATUS_INTERRUPT)?;
    pin.end_low()?;
    pin.expect_none()?;
    say!(
        "ok intx pin={} first={} second={}",
        first.line(),
        first.at,
        second.at
    );
    Ok(())
}

/// The interrupts of a vector that came meanwhile.
struct Counter {
    vector: u8,
    seen: u32,
}

impl Counter {
    fn of(vector: u8) -> Self {
        let seen = ring0::interrupts(vector).load(Ordering::SeqCst);
        Self { vector, seen }
    }

    /// One, and no more.
    fn expect_one(&mut self) -> Result<(), Failure> {
        pin::wait_for(self.vector, self.seen)?;
        pin::expect_none(self.vector)?;
        let found = ring0::interrupts(self.vector).load(Ordering::SeqCst);
        expect("messages", 1_u8, found.wrapping_sub(self.seen))?;
        self.seen = found;
        Ok(())
    }
}

/// A disk's message: let through, masked by function and by vector, changed, taken away.
fn msix(mut words: Words<'_>) -> Result<(), Failure> {
    let device = virtio::device(DeviceType::Block, &mut words)?;
    let function = device.function()?;
    let msix = function.msix()?;
    apic::enable();
    let mut disk = Read::open(&device)?;
    let common = Common::of(function)?;
    let (mut messages, mut others) = (Counter::of(VECTOR), Counter::of(OTHER_VECTOR));
    let (vectors, me) = (msix.vectors(), cpu::apic_id());
    msix.set(ENTRY, me, VECTOR);
    msix.mask(ENTRY, false);
    msix.control(true, false);
    expect("vector", ENTRY, common.set_vector(QUEUE_0, 1))?;
    let beyond = u16::try_from(vectors).unwrap_or(NO_VECTOR);
    expect(
        "vector beyond",
        NO_VECTOR,
        common.set_vector(QUEUE_0, beyond),
    )?;
    expect("vector", ENTRY, common.set_vector(QUEUE_0, 1))?;

    disk.start(0)?;
    disk.finish()?;
    messages.expect_one()?;
    // ISR status is for those who have the pin.
    expect("isr", 0_u8, disk.isr())?;
    say!("msix vectors={vectors} through=ok");

    msix.control(true, true);
    disk.start(1)?;
    disk.finish()?;
    pin::expect_none(VECTOR)?;
    expect("pending", true, msix.is_pending(ENTRY))?;
    msix.control(true, false);
    messages.expect_one()?;
    expect("pending", false, msix.is_pending(ENTRY))?;
    say!("msix function_mask=ok");

    msix.mask(ENTRY, true);
    disk.start(0)?;
    disk.finish()?;
    disk.start(1)?;
    disk.finish()?;
    pin::expect_none(VECTOR)?;
    expect("pending", true, msix.is_pending(ENTRY))?;
    msix.set(ENTRY, me, OTHER_VECTOR);
    msix.mask(ENTRY, false);
    // Two of them are one when they come out, and it is where it has been sent to meanwhile.
    others.expect_one()?;
    pin::expect_none(VECTOR)?;
    expect("pending", false, msix.is_pending(ENTRY))?;
    say!("msix vector_mask=ok");

    expect(
        "no vector",
        NO_VECTOR,
        common.set_vector(QUEUE_0, NO_VECTOR),
    )?;
    disk.start(0)?;
    disk.finish()?;
    pin::expect_none(OTHER_VECTOR)?;
    expect("pending", false, msix.is_pending(ENTRY))?;
    say!("msix no_vector=ok");

    msix.control(false, false);
    let mut pin = Pin::route(function.line())?;
    disk.start(1)?;
    disk.finish()?;
    pin.wait()?;
    expect("isr", ISR_QUEUE, disk.isr())?;
    pin.end_low()?;
    pin.expect_none()?;
    say!("ok msix");
    Ok(())
}
