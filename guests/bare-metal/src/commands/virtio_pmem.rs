//! Virtio persistent memory over MMIO, for which the crate virtio-drivers has no driver.

use super::Command;
use crate::memory;
use crate::pages;
use crate::say;
use crate::script::{Failure, Words};
use crate::virtio::{self, Place};

pub const COMMANDS: &[Command] = &[Command {
    name: "virtio-pmem",
    usage: "DEVICE write OFFSET BYTE | read OFFSET | flush",
    run: virtio_pmem,
}];

/// The specification's number of it.
const KIND: u64 = 27;

/// Registers.
const DRIVER_FEATURES: u64 = 0x20;
const DRIVER_FEATURES_SEL: u64 = 0x24;
const QUEUE_SEL: u64 = 0x30;
const QUEUE_SIZE: u64 = 0x38;
const QUEUE_READY: u64 = 0x44;
const QUEUE_NOTIFY: u64 = 0x50;
const STATUS: u64 = 0x70;
const AREAS: [u64; 3] = [0x80, 0x90, 0xa0];
const CONFIG: u64 = 0x100;

/// ACKNOWLEDGE and DRIVER, FEATURES_OK, DRIVER_OK.
const BEGUN: u64 = 3;
const AGREED: u64 = 0xb;
const READY: u64 = 0xf;
/// VIRTIO_F_VERSION_1, in the upper half.
const VERSION_1: u64 = 1;

/// Where the parts of the queue, request and response are in a page.
const PARTS: [u64; 3] = [0, 0x100, 0x200];
const REQUEST: u64 = 0x300;
const RESPONSE: u64 = 0x304;
const NEXT: u64 = 1;
const WRITE: u64 = 2;

fn virtio_pmem(mut words: Words<'_>) -> Result<(), Failure> {
    let device = virtio::device_of(KIND, &mut words)?;
    let Place::Mmio(registers, _) = device.place else {
        return Err(Failure::Absent("register"));
    };
    let config = |at| memory::read(registers + CONFIG + at, 4);
    let start = config(0) | config(4) << 32;
    let length = config(8) | config(12) << 32;
    memory::map(start, length)?;
    match words.word().ok_or(Failure::Usage)? {
        "write" => {
            let (offset, byte): (u64, u64) = (words.number()?, words.number()?);
            memory::write(start + offset, 1, byte);
            say!("ok virtio-pmem written at={offset:#x}");
        }
        "read" => {
            let offset: u64 = words.number()?;
            let byte = memory::read(start + offset, 1);
            say!("ok virtio-pmem start={start:#x} length={length:#x} byte={byte:#x}");
        }
        "flush" => {
            let ret = flush(registers)?;
            say!("ok virtio-pmem flush ret={ret:#x}");
        }
        _ => return Err(Failure::Usage),
    }
    Ok(())
}

/// Begins the device anew and has it flush; what it answers.
fn flush(registers: u64) -> Result<u64, Failure> {
    let page = pages::take(1).ok_or(Failure::Absent("page"))?;
    let at = page.as_ptr().expose_provenance() as u64;
    let set = |register: u64, value: u64| memory::write(registers + register, 4, value);
    for status in [0, BEGUN] {
        set(STATUS, status);
    }
    for (half, bits) in [(0, 0), (1, VERSION_1)] {
        set(DRIVER_FEATURES_SEL, half);
        set(DRIVER_FEATURES, bits);
    }
    set(STATUS, AGREED);
    set(QUEUE_SEL, 0);
    set(QUEUE_SIZE, 2);
    for (register, part) in AREAS.into_iter().zip(PARTS) {
        set(register, (at + part) & 0xffff_ffff);
        set(register + 4, (at + part) >> 32);
    }
    set(QUEUE_READY, 1);
    set(STATUS, READY);
    // A request of type 0, and behind it the room for what comes of it.
    let [table, available, used] = PARTS.map(|part| at + part);
    for (descriptor, address, flags, next) in [
        (table, at + REQUEST, NEXT, 1),
        (table + 16, at + RESPONSE, WRITE, 0),
    ] {
        memory::write(descriptor, 8, address);
        memory::write(descriptor + 8, 4, 4);
        memory::write(descriptor + 12, 2, flags);
        memory::write(descriptor + 14, 2, next);
    }
    memory::write(at + RESPONSE, 4, 0x77);
    memory::write(available + 2, 2, 1);
    set(QUEUE_NOTIFY, 0);
    let ret = virtio::poll("answer", || {
        let answered = memory::read(used + 2, 2) == 1;
        Ok(answered.then(|| memory::read(at + RESPONSE, 4)))
    });
    set(STATUS, 0);
    pages::give_back(page, 1);
    ret
}
