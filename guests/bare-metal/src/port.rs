//! Port I/O from ring 3: IOPL 3 lets it.

use core::arch::asm;

/// Reads a byte.
pub fn read_u8(port: u16) -> u8 {
    let value;
    // SAFETY: port input touches neither Rust's memory nor the stack.
    unsafe {
        asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags))
    };
    value
}

/// Reads a word.
pub fn read_u16(port: u16) -> u16 {
    let value;
    // SAFETY: as in `read_u8`.
    unsafe {
        asm!("in ax, dx", in("dx") port, out("ax") value, options(nomem, nostack, preserves_flags))
    };
    value
}

/// Reads a double word.
pub fn read_u32(port: u16) -> u32 {
    let value;
    // SAFETY: as in `read_u8`.
    unsafe {
        asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack, preserves_flags))
    };
    value
}

/// Writes a byte.
pub fn write_u8(port: u16, value: u8) {
    // SAFETY: no device of the machine is told to write this program's memory.
    unsafe {
        asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags))
    };
}

/// Writes a word.
pub fn write_u16(port: u16, value: u16) {
    // SAFETY: as in `write_u8`.
    unsafe {
        asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack, preserves_flags))
    };
}

/// Writes a double word.
pub fn write_u32(port: u16, value: u32) {
    // SAFETY: as in `write_u8`.
    unsafe {
        asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags))
    };
}
