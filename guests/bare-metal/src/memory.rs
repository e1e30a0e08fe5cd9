//! Physical memory: the lazily extended identity map, and typed access to what lies behind it.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const GIB: u64 = 1 << 30;
const PAGE_2M: u64 = 2 << 20;
/// Present, writable, for all rings.
const TABLE: u64 = 0x7;
/// The same and a page of 2 MiB.
const LARGE: u64 = 0x87;
/// Page directories for GiB other than the first.
const POOL: usize = 16;

/// An address that the identity map does not reach: above 512 GiB, or the pool of page directories is used up.
#[derive(Clone, Copy, Debug)]
pub struct Unmapped(pub u64);

#[repr(C, align(4096))]
struct Directories(UnsafeCell<[[u64; 512]; POOL]>);
// SAFETY: `map` alone writes it, on the first processor alone, and no entry before the directory is linked.
unsafe impl Sync for Directories {}

static DIRECTORIES: Directories = Directories(UnsafeCell::new([[0; 512]; POOL]));
static USED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    safe static page_directory_pointers: [AtomicU64; 512];
}

/// Makes a range reachable. Only the first processor calls it.
///
/// # Errors
/// [`Unmapped`].
pub fn map(address: u64, length: u64) -> Result<(), Unmapped> {
    let last = address
        .checked_add(length.max(1) - 1)
        .ok_or(Unmapped(address))?;
    for gib in address / GIB..=last / GIB {
        let entry = usize::try_from(gib)
            .ok()
            .and_then(|index| page_directory_pointers.get(index));
        let entry = entry.ok_or(Unmapped(last))?;
        if entry.load(Ordering::Relaxed) != 0 {
            continue;
        }
        let used = USED.load(Ordering::Relaxed);
        if used == POOL {
            return Err(Unmapped(gib * GIB));
        }
        USED.store(used + 1, Ordering::Relaxed);
        // SAFETY: this directory is in no use yet, and no other processor is here.
        let directory = unsafe { &mut (*DIRECTORIES.0.get())[used] };
        let mut page = (gib * GIB) | LARGE;
        for slot in directory.iter_mut() {
            *slot = page;
            page += PAGE_2M;
        }
        entry.store(directory.as_ptr().addr() as u64 | TABLE, Ordering::SeqCst);
    }
    Ok(())
}

/// Bytes of RAM or ROM, for tables that do not change while they are read.
///
/// # Errors
/// [`Unmapped`].
pub fn bytes(address: u64, length: u64) -> Result<&'static [u8], Unmapped> {
    map(address, length)?;
    let length = usize::try_from(length).map_err(|_| Unmapped(address))?;
    // SAFETY: mapped, and any bytes are valid; what is read so is written by nobody meanwhile.
    Ok(unsafe { core::slice::from_raw_parts(pointer(address), length) })
}

/// Reads 1, 2, 4 or 8 bytes in one access; the address must be mapped, or it is an exception.
pub fn read(address: u64, width: u8) -> u64 {
    // SAFETY: a device register or RAM that the script names; ring 0 catches a fault.
    unsafe {
        match width {
            1 => u64::from(pointer::<u8>(address).read_volatile()),
            2 => u64::from(access_u16(address)),
            4 => u64::from(access_u32(address)),
            _ => access_u64(address),
        }
    }
}

// Accesses by hand: the script may name unaligned addresses, which `read_volatile` must not see.
unsafe fn access_u16(address: u64) -> u16 {
    let value;
    // SAFETY: see `read`.
    unsafe {
        asm!("mov {0:x}, [{1}]", out(reg) value, in(reg) address, options(nostack, preserves_flags))
    };
    value
}

unsafe fn access_u32(address: u64) -> u32 {
    let value;
    // SAFETY: see `read`.
    unsafe {
        asm!("mov {0:e}, [{1}]", out(reg) value, in(reg) address, options(nostack, preserves_flags))
    };
    value
}

unsafe fn access_u64(address: u64) -> u64 {
    let value;
    // SAFETY: see `read`.
    unsafe {
        asm!("mov {0}, [{1}]", out(reg) value, in(reg) address, options(nostack, preserves_flags))
    };
    value
}

/// Writes the low 1, 2, 4 or 8 bytes in one access; as [`read`].
pub fn write(address: u64, width: u8, value: u64) {
    // SAFETY: the script owns all memory but this image (1 to 2 MiB), which its documentation tells it to spare.
    unsafe {
        match width {
            1 => {
                asm!("mov [{0}], {1}", in(reg) address, in(reg_byte) value.to_le_bytes()[0], options(nostack, preserves_flags))
            }
            2 => {
                asm!("mov [{0}], {1:x}", in(reg) address, in(reg) value, options(nostack, preserves_flags))
            }
            4 => {
                asm!("mov [{0}], {1:e}", in(reg) address, in(reg) value, options(nostack, preserves_flags))
            }
            _ => {
                asm!("mov [{0}], {1}", in(reg) address, in(reg) value, options(nostack, preserves_flags))
            }
        }
    }
}

/// Copies between ranges that do not overlap; both must be mapped.
pub fn copy(to: u64, from: u64, length: u64) {
    // SAFETY: as in `write`.
    unsafe {
        asm!("rep movsb", inout("rcx") length => _, inout("rsi") from => _, inout("rdi") to => _,
            options(nostack, preserves_flags));
    }
}

/// Sets a mapped range to one byte.
pub fn fill(to: u64, value: u8, length: u64) {
    // SAFETY: as in `write`.
    unsafe {
        asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _, in("al") value,
            options(nostack, preserves_flags));
    }
}

/// The wrapping sum of a mapped range's 64-bit little-endian words; bytes after the last whole word count for nothing.
pub fn sum(from: u64, length: u64) -> u64 {
    let words = usize::try_from(length / 8).unwrap_or(usize::MAX);
    (0..words).fold(0, |sum: u64, index| {
        // SAFETY: mapped by the caller; plain reads let the compiler use vector registers.
        sum.wrapping_add(unsafe { pointer::<u64>(from).add(index).read_unaligned() })
    })
}

/// Hints that a cache line's content shall reach memory, and waits for it.
pub fn flush(address: u64) {
    // SAFETY: `clflush` changes no content; the address is mapped by the caller.
    unsafe { asm!("clflush [{}]", "sfence", in(reg) address, options(nostack, preserves_flags)) };
}

fn pointer<T>(address: u64) -> *const T {
    core::ptr::with_exposed_provenance(usize::try_from(address).unwrap_or(usize::MAX))
}

/// What the compiler calls without a C library.
mod runtime {
    use core::arch::asm;

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        // SAFETY: the caller's contract is C's.
        unsafe {
            asm!("rep movsb", inout("rcx") length => _, inout("rsi") from => _, inout("rdi") to => _, options(nostack, preserves_flags))
        };
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        if to.addr().wrapping_sub(from.addr()) >= length {
            // SAFETY: a forward copy never reads what it has written.
            return unsafe { memcpy(to, from, length) };
        }
        // SAFETY: the caller's contract is C's; the direction flag is put back.
        unsafe {
            asm!("std", "rep movsb", "cld", inout("rcx") length => _,
                inout("rsi") from.wrapping_add(length).wrapping_sub(1) => _,
                inout("rdi") to.wrapping_add(length).wrapping_sub(1) => _, options(nostack));
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, value: i32, length: usize) -> *mut u8 {
        let value = value.to_le_bytes()[0];
        // SAFETY: the caller's contract is C's.
        unsafe {
            asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _, in("al") value, options(nostack, preserves_flags))
        };
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
        for index in 0..length {
            // SAFETY: the caller's contract is C's. Volatile, so that the loop is not made a call of memcmp.
            let (left, right) = unsafe {
                (
                    left.add(index).read_volatile(),
                    right.add(index).read_volatile(),
                )
            };
            if left != right {
                return i32::from(left) - i32::from(right);
            }
        }
        0
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
        // SAFETY: the same contract.
        unsafe { memcmp(left, right, length) }
    }
}
