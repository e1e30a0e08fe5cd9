//! A guest of one ELF file that drives every device of the boards by a script from its command line.
//!
//! Ring 0 is assembly and as short as it can be, since some hosts interpret it; all Rust runs in ring 3.

#![no_std]
#![no_main]

extern crate alloc;

mod acpi;
mod apic;
mod clock;
mod commands;
mod console;
mod cpu;
mod ide;
mod ioapic;
mod lean;
mod memory;
mod pages;
mod pci;
mod pin;
mod port;
mod processors;
mod pvh;
mod ring0;
mod rtc;
mod script;
mod uart;
mod virtio;
mod work;

use core::panic::PanicInfo;

/// Longest command line that is read.
const COMMAND_LINE: usize = 2048;

/// Where ring 0 leaves the first processor; the greeting has been printed.
#[unsafe(no_mangle)]
extern "C" fn user_main(start_info: u64) -> ! {
    ring0::install();
    console::start();
    pvh::set(start_info);
    let mut buffer = [0; COMMAND_LINE];
    match pvh::command_line(&mut buffer) {
        Ok(line) => script::run(script::of_command_line(script::text(line))),
        Err(memory::Unmapped(address)) => say!("err start unmapped address={address:#x}"),
    }
    script::run("exit");
    ring0::stop()
}

/// Where ring 0 leaves each further processor.
#[unsafe(no_mangle)]
extern "C" fn ap_user_main(processor: usize) -> ! {
    processors::run(processor)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    say!("err panic {info}");
    ring0::triple_fault();
    ring0::stop()
}
