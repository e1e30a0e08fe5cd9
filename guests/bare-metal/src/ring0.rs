//! Ring 0 as ring 3 sees it: its services, the interrupt counters, the recovery from exceptions, and the
//! one processor block that each processor has.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::memory;

global_asm!(include_str!("ring0/entry.s"), options(att_syntax, raw));
global_asm!(include_str!("ring0/interrupts.s"), options(att_syntax, raw));
global_asm!(include_str!("ring0/services.s"), options(att_syntax, raw));
global_asm!(include_str!("ring0/user.s"), options(att_syntax, raw));

/// How many processors the tables of ring 0 hold.
pub const PROCESSORS: usize = 64;

const PROCESSOR_SIZE: usize = 0x2000;
const PROCESSOR_SHARED: usize = 0x1a00;
const TRAMPOLINE_GDT_POINTER: u64 = 0xff0;
const ENTRY_SIZE: u64 = 16;

/// What the exception handler leaves at the top of a ring 0 stack (interrupts.s).
#[repr(C)]
struct Shared {
    recovery_rip: AtomicU64,
    recovery_rsp: AtomicU64,
    vector: AtomicU64,
    error: AtomicU64,
    rip: AtomicU64,
    cr2: AtomicU64,
    count: AtomicU64,
}

/// An exception that ended a function.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// Vector, 0 to 31.
    pub vector: u64,
    /// Error code, 0 where the vector has none.
    pub error: u64,
    /// Where it happened.
    pub rip: u64,
    /// The last faulting address of this processor.
    pub cr2: u64,
}

/// A service's number, in the order of `service_table` (services.s).
#[derive(Clone, Copy)]
#[repr(u64)]
enum Service {
    ReadMsr,
    WriteMsr,
    Wait,
    ReadCr0,
    ReadCr2,
    ReadCr3,
    ReadCr4,
    TripleFault,
    ConsoleWrite,
    WritePort,
    Cpuid,
    Interrupts,
    Stop,
}

#[repr(C, align(16))]
struct Idt(UnsafeCell<[[u64; 2]; 256]>);
// SAFETY: written by `install` alone, before a second processor runs.
unsafe impl Sync for Idt {}

#[repr(C, align(8192))]
struct Block(UnsafeCell<[u8; PROCESSOR_SIZE]>);
// SAFETY: Rust reads and writes it through `Shared`, which is made of atomics.
unsafe impl Sync for Block {}

unsafe extern "C" {
    safe static idt: Idt;
    safe static processors: [Block; PROCESSORS];
    safe static interrupt_counts: [AtomicU32; 256];
    safe static manual_eoi: [AtomicU8; 256];
    safe static ap_next: AtomicU32;
    safe static gdt_pointer: [u8; 10];
    safe static interrupt_entries: u8;
    safe static trampoline: u8;
    safe static trampoline_end: u8;
    fn call_service(service: u64, first: u64, second: u64) -> u64;
    fn call_with_recovery(
        shared: *const Shared,
        function: extern "C" fn(usize),
        argument: usize,
    ) -> u64;
}

/// Fills the IDT, which ring 0 has loaded empty. Before this an exception is a triple fault.
pub fn install() {
    let entries = (&raw const interrupt_entries).addr() as u64;
    let mut address = entries;
    // SAFETY: the only processor that runs, and the only reference to the table.
    let table = unsafe { &mut *idt.0.get() };
    for gate in table {
        // 64-bit interrupt gate, DPL 0, selector 0x18.
        *gate = [
            (address & 0xffff) | 0x18 << 16 | 0x8e00 << 32 | (address & 0xffff_0000) << 32,
            0,
        ];
        address += ENTRY_SIZE;
    }
}

fn shared(processor: usize) -> &'static Shared {
    let block = processors.get(processor).unwrap_or(&processors[0]).0.get();
    // SAFETY: inside the block, aligned, made of atomics which zero bytes are valid for.
    unsafe { &*block.cast::<u8>().add(PROCESSOR_SHARED).cast::<Shared>() }
}

fn service(service: Service, first: u64, second: u64) -> u64 {
    // SAFETY: the services keep the C calling convention and touch the memory alone that they are given.
    unsafe { call_service(service as u64, first, second) }
}

/// Runs a function of one word; an exception in it, or in a service that it asks for, ends it.
///
/// # Errors
/// The exception. What the function had begun stays as it was.
pub fn catch(
    processor: usize,
    function: extern "C" fn(usize),
    argument: usize,
) -> Result<(), Exception> {
    let shared = shared(processor);
    // SAFETY: the recovery point is on this stack and is taken back before the function returns.
    if unsafe { call_with_recovery(shared, function, argument) } == 0 {
        return Ok(());
    }
    Err(Exception {
        vector: shared.vector.load(Ordering::Relaxed),
        error: shared.error.load(Ordering::Relaxed),
        rip: shared.rip.load(Ordering::Relaxed),
        cr2: shared.cr2.load(Ordering::Relaxed),
    })
}

/// How many exceptions a processor has met.
pub fn exceptions(processor: usize) -> u64 {
    shared(processor).count.load(Ordering::Relaxed)
}

/// Reads a model-specific register; an unknown one is exception 13.
pub fn read_msr(register: u32) -> u64 {
    service(Service::ReadMsr, u64::from(register), 0)
}

/// Writes a model-specific register; an unknown one is exception 13.
pub fn write_msr(register: u32, value: u64) {
    service(Service::WriteMsr, u64::from(register), value);
}

/// A control register, `None` for one that ring 0 does not read.
pub fn read_control(register: u64) -> Option<u64> {
    let read = match register {
        0 => Service::ReadCr0,
        2 => Service::ReadCr2,
        3 => Service::ReadCr3,
        4 => Service::ReadCr4,
        _ => return None,
    };
    Some(service(read, 0, 0))
}

/// Halts with interrupts on until one has been served, unless the word is no longer `seen`.
pub fn wait(word: &AtomicU32, seen: u32) {
    service(Service::Wait, word.as_ptr().addr() as u64, u64::from(seen));
}

/// How often an interrupt was served, on any processor.
pub fn interrupts(vector: u8) -> &'static AtomicU32 {
    &interrupt_counts[usize::from(vector)]
}

/// Leaves the end-of-interrupt of a vector to ring 3, for a line that stays active until its device is served.
pub fn set_manual_eoi(vector: u8, manual: bool) {
    manual_eoi[usize::from(vector)].store(u8::from(manual), Ordering::SeqCst);
}

/// EAX, EBX, ECX and EDX of one CPUID leaf, as ring 0 sees it.
pub fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    let answer = UnsafeCell::new([0; 4]);
    service(
        Service::Cpuid,
        u64::from(leaf) | u64::from(subleaf) << 32,
        answer.get().expose_provenance() as u64,
    );
    answer.into_inner()
}

/// Lets interrupts reach ring 3, or keeps them pending until the next [`wait`].
pub fn set_interrupts(on: bool) {
    service(Service::Interrupts, u64::from(on), 0);
}

/// Makes the processor shut down.
pub fn triple_fault() {
    service(Service::TripleFault, 0, 0);
}

/// Halts with interrupts off.
pub fn stop() -> ! {
    loop {
        service(Service::Stop, 0, 0);
    }
}

/// Writes bytes to COM1, waiting for its transmitter.
pub fn console_write(bytes: &[u8]) {
    if !bytes.is_empty() {
        service(
            Service::ConsoleWrite,
            bytes.as_ptr().addr() as u64,
            bytes.len() as u64,
        );
    }
}

/// Writes zeroes to a port from ring 0.
pub fn write_port(port: u16, count: u64) {
    if count > 0 {
        service(Service::WritePort, u64::from(port), count);
    }
}

/// Puts the start code of further processors into a page below 1 MiB. The next one to start will be `first`.
pub fn place_trampoline(page: u64, first: u32) {
    ap_next.store(first, Ordering::SeqCst);
    let from = (&raw const trampoline).addr() as u64;
    let length = (&raw const trampoline_end).addr() as u64 - from;
    memory::copy(page, from, length);
    memory::copy(
        page + TRAMPOLINE_GDT_POINTER,
        gdt_pointer.as_ptr().addr() as u64,
        10,
    );
}
