//! A board of one's own: two chips that no mode of ours has, and no line of vmm-core changed.
//!
//! `cargo run --example own_board -- GUEST.elf` runs a kernel that prints by COM1's data port and resets
//! through port 0x64.

#![expect(clippy::print_stdout, reason = "a program on a terminal")]

use std::fs::File;
use std::sync::Arc;

use trivisor_buses::{
    AccessError, Board, Component, EventSink, FitError, MachineEvent, PortDevice, RestoreError,
    SavedState, Slots, Widths,
};
use trivisor_kvm::{IrqchipKind, Kvm};
use trivisor_memory::RamOptions;
use trivisor_vmm_core::{BootConfig, CoreConfig, Machine};

/// A printer: what is written to its first port appears on standard output, the rest says "ready".
struct Printer;

impl PortDevice for Printer {
    fn read(&mut self, _offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        data.fill(0x60);
        Ok(())
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        if offset == 0 {
            print!("{}", String::from_utf8_lossy(data));
        }
        Ok(())
    }
}

/// A port that resets the machine.
struct ResetPort(Arc<dyn EventSink>);

impl PortDevice for ResetPort {
    fn read(&mut self, _offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        data.fill(0);
        Ok(())
    }

    fn write(&mut self, _offset: u16, data: &[u8]) -> Result<(), AccessError> {
        if data == [0xfe] {
            self.0.event(MachineEvent::Reset);
        }
        Ok(())
    }
}

/// Neither chip has a state to speak of.
macro_rules! stateless {
    ($chip:ty, $kind:literal) => {
        impl Component for $chip {
            fn reset(&mut self) {}

            fn save(&self) -> SavedState {
                SavedState::encode($kind, 1, &())
            }

            fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
                state.decode($kind, 1)
            }
        }
    };
}
stateless!(Printer, "printer");
stateless!(ResetPort, "reset-port");

struct OwnBoard;

impl Board for OwnBoard {
    fn fit(self, slots: &mut Slots) -> Result<(), FitError> {
        slots.pio("printer", 0x3f8, 8, Widths::BYTES, Printer)?;
        let events = slots.host().events.clone();
        slots.pio("reset port", 0x64, 1, Widths::BYTES, ResetPort(events))?;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kernel = File::open(
        std::env::args_os()
            .nth(1)
            .ok_or("usage: own_board GUEST.elf")?,
    )?;
    let config = CoreConfig {
        cpus: 1,
        memory_bytes: 64 << 20,
        ram: RamOptions::default(),
        irqchip: IrqchipKind::Split { pins: 24 },
        switched: 0..0,
        boot: Some(BootConfig {
            kernel,
            initrd: None,
            cmdline: String::new(),
            random_seed: [0; 32],
        }),
    };
    let mut machine = Machine::with_board(&Kvm::open()?, config, OwnBoard)?;
    machine.start(Arc::new(|| Ok(())), Box::new(|| ()))?;
    println!("\n{:?}", machine.wait());
    Ok(())
}
