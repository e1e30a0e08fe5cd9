//! The UART, register by register, through the very port that the report goes out by.

use core::sync::atomic::Ordering;

use super::Command;
use crate::apic;
use crate::console;
use crate::ioapic::{self, IoApic};
use crate::port;
use crate::ring0;
use crate::say;
use crate::script::{Failure, Words};
use crate::uart::*;

pub const COMMANDS: &[Command] = &[Command {
    name: "uart",
    usage: "",
    run: uart,
}];

const VECTOR: u8 = 0x35;
/// One of 115200 divided by 12: 9600 bits a second.
const DIVISOR: [u8; 2] = [12, 0];
const FIFO: u8 = 16;

fn read(register: u16) -> u8 {
    port::read_u8(COM1 + register)
}

fn write(register: u16, value: u8) {
    port::write_u8(COM1 + register, value);
}

fn expect(what: &'static str, expected: u8, found: u8) -> Result<(), Failure> {
    if expected == found {
        return Ok(());
    }
    Err(Failure::Mismatch {
        what,
        expected: u64::from(expected),
        found: u64::from(found),
    })
}

/// Waits until nothing that was printed can be disturbed any more.
fn drain() {
    while read(LSR) & LSR_TEMT == 0 {
        core::hint::spin_loop();
    }
}

/// Lets the transmitter interrupt once; true when the vector's counter moved.
pub fn raise_transmitter(vector: u8) -> bool {
    drain();
    let seen = ring0::interrupts(vector).load(Ordering::SeqCst);
    write(MCR, MCR_PC);
    write(IER, IER_TRANSMITTER);
    let taken = apic::wait_for(vector, seen);
    write(IER, 0);
    taken
}

fn uart(_: Words<'_>) -> Result<(), Failure> {
    drain();
    write(IER, 0);
    let result = scratch().and_then(|()| divisor()).and_then(|()| fifo());
    let result = result.and_then(|()| modem()).and_then(|()| data());
    // Whatever happened, the next line must be readable.
    write(LCR, LCR_8N1);
    write(MCR, MCR_PC);
    write(FCR, FCR_CLEAR | FCR_ENABLE);
    console::start();
    result?;
    say!("uart scratch=ok divisor=ok fifo=ok modem=ok loopback=ok");
    interrupt()?;
    say!("ok uart");
    Ok(())
}

fn scratch() -> Result<(), Failure> {
    for value in [0x5a, 0xa5, 0x00, 0xff] {
        write(SCR, value);
        expect("scratch", value, read(SCR))?;
    }
    Ok(())
}

/// The divisor stands behind DLAB and leaves IER alone.
fn divisor() -> Result<(), Failure> {
    write(LCR, LCR_DLAB | LCR_8N1);
    expect("lcr", LCR_DLAB | LCR_8N1, read(LCR))?;
    let [low, high] = DIVISOR;
    write(DLL, low);
    write(DLM, high);
    expect("divisor low", low, read(DLL))?;
    expect("divisor high", high, read(DLM))?;
    write(DLM, 0x12);
    expect("divisor high", 0x12, read(DLM))?;
    write(DLL, 1);
    write(DLM, 0);
    write(LCR, LCR_8N1);
    expect("lcr", LCR_8N1, read(LCR))?;
    expect("ier", 0, read(IER))
}

fn fifo() -> Result<(), Failure> {
    write(FCR, 0);
    expect("iir fifo off", 0, read(IIR) & IIR_FIFO)?;
    write(FCR, FCR_ENABLE);
    expect("iir fifo on", IIR_FIFO, read(IIR) & IIR_FIFO)
}

/// In loopback DTR, RTS, OUT1, OUT2 come back as DSR, CTS, RI, DCD.
fn modem() -> Result<(), Failure> {
    for outputs in 0..16u8 {
        write(MCR, MCR_LOOP | outputs);
        let inputs = (outputs & 1) << 1 | (outputs & 2) >> 1 | outputs & 0xc;
        expect("msr", inputs << 4, read(MSR) & 0xf0)?;
    }
    // From all on to all off: CTS, DSR and DCD changed, RI had a trailing edge; reading clears them.
    write(MCR, MCR_LOOP);
    expect("msr delta", 0x0f, read(MSR) & 0x0f)?;
    expect("msr delta read", 0, read(MSR) & 0x0f)
}

fn data() -> Result<(), Failure> {
    write(MCR, MCR_LOOP);
    write(FCR, FCR_CLEAR | FCR_ENABLE);
    expect(
        "lsr empty",
        LSR_THRE | LSR_TEMT,
        read(LSR) & (LSR_THRE | LSR_TEMT | LSR_DATA_READY),
    )?;
    for byte in 0..FIFO {
        write(THR, 0x40 + byte);
        drain();
    }
    write(IER, IER_RECEIVED);
    expect("iir received", IIR_RECEIVED, read(IIR) & 0x06)?;
    write(IER, 0);
    for byte in 0..FIFO {
        expect("data ready", LSR_DATA_READY, read(LSR) & LSR_DATA_READY)?;
        expect("loopback", 0x40 + byte, read(RBR))?;
    }
    expect("data ready", 0, read(LSR) & LSR_DATA_READY)?;
    for byte in 0..=FIFO {
        write(THR, byte);
        drain_without_status();
    }
    expect("overrun", LSR_OVERRUN, read(LSR) & LSR_OVERRUN)?;
    expect("overrun read", 0, read(LSR) & LSR_OVERRUN)
}

/// Reading LSR would clear the overrun that is waited for, so time must do.
fn drain_without_status() {
    crate::cpu::delay(1 << 16);
}

fn interrupt() -> Result<(), Failure> {
    let ioapic = IoApic::find().ok_or(Failure::Absent("io_apic"))?;
    apic::enable();
    let pin = ioapic::pin_of(IRQ);
    ioapic.route(pin, VECTOR, false);
    let count = ring0::interrupts(VECTOR);
    let first = count.load(Ordering::SeqCst);
    for expected in 1..=4u32 {
        if !raise_transmitter(VECTOR) {
            return Err(Failure::Absent("transmitter interrupt"));
        }
        let found = count.load(Ordering::SeqCst).wrapping_sub(first);
        if found != expected {
            ioapic.mask(pin);
            let (expected, found) = (u64::from(expected), u64::from(found));
            return Err(Failure::Mismatch {
                what: "interrupts",
                expected,
                found,
            });
        }
    }
    ioapic.mask(pin);
    // Reading IIR ends the transmitter's interrupt.
    drain();
    write(IER, IER_TRANSMITTER);
    let kinds = [read(IIR) & IIR_KIND, read(IIR) & IIR_KIND];
    write(IER, 0);
    expect("iir transmitter", IIR_TRANSMITTER, kinds[0])?;
    expect("iir none", IIR_NONE, kinds[1])?;
    say!(
        "uart interrupts={}",
        count.load(Ordering::SeqCst).wrapping_sub(first)
    );
    Ok(())
}
