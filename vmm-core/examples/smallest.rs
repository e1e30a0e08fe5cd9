//! A working VM from the parts: a kernel, the basic board, its serial port on standard output.
//!
//! `cargo run --example smallest -- KERNEL [COMMAND LINE]`

#![expect(clippy::print_stdout, reason = "a program on a terminal")]

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use trivisor_buses::CharOutput;
use trivisor_kvm::Kvm;
use trivisor_memory::RamOptions;
use trivisor_vmm_core::{BootConfig, Machine, MachineConfig, Mode, PcConfig, VirtioConfig};

struct Stdout;

impl CharOutput for Stdout {
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut stdout = std::io::stdout();
        stdout
            .write(bytes)
            .and_then(|taken| stdout.flush().map(|()| taken))
            .unwrap_or(bytes.len())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let kernel = File::open(
        arguments
            .next()
            .ok_or("usage: smallest KERNEL [COMMAND LINE]")?,
    )?;
    let config = MachineConfig {
        mode: Mode::Basic,
        cpus: 1,
        memory_bytes: 256 << 20,
        ram: RamOptions::default(),
        boot: Some(BootConfig {
            kernel,
            initrd: None,
            cmdline: arguments.next().unwrap_or_default(),
            random_seed: [0; 32],
        }),
        serial: Some(Box::new(Stdout)),
        pmem: Vec::new(),
        debug_exit: None,
        generation_id: [0; 16],
        virtio: VirtioConfig::default(),
        pc: PcConfig::default(),
    };
    let mut machine = Machine::new(&Kvm::open()?, config)?;
    machine.start(Arc::new(|| Ok(())), Box::new(|| ()))?;
    let outcome = machine.wait();
    println!("\n{outcome:?}");
    Ok(())
}
