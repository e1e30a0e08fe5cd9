//! The parts of a PC, from the descriptors of a plan.

use std::fs::File;
use std::sync::Arc;

use trivisor_buses::CharOutput;
use trivisor_devices_hvm::vga::{self, VgaCard};
use trivisor_memory::FileMapping;
use trivisor_vmm_core::PcConfig;

use crate::failure::{Failure, chain};
use crate::plan::Plan;

/// Where the firmware's debug console leads. What the other side does not take at once is lost.
struct DebugOutput(File);

impl CharOutput for DebugOutput {
    fn write(&mut self, bytes: &[u8]) -> usize {
        rustix::io::write(&self.0, bytes).unwrap_or(0)
    }
}

/// The file by which SeaBIOS is told of a serial port for its screen and keyboard.
const SERIAL_SCREEN: &str = "etc/sercon-port";
/// A port, as the file has it.
const COM1: u64 = 0x3f8;

pub(super) fn config(plan: &Plan) -> Result<PcConfig, Failure> {
    let pc = &plan.pc;
    let mut config = PcConfig {
        boot_order: pc.boot_order.clone(),
        files: vec![(SERIAL_SCREEN.into(), COM1.to_le_bytes().to_vec())],
        ..PcConfig::default()
    };
    if let Some(firmware) = &pc.firmware {
        let file = firmware.file.try_clone();
        let file = file.map_err(Failure::refused("a descriptor"))?;
        let mapping = FileMapping::new(file, true).map_err(|error| {
            Failure::usage(
                format!("firmware {}: {}", firmware.path.display(), chain(&error)),
                "--firmware takes a PC's BIOS, such as SeaBIOS's bios-256k.bin",
            )
        })?;
        config.firmware = Some(Arc::new(mapping));
    }
    let memory = FileMapping::zeroed(vga::MEMORY_SIZE);
    let memory = memory.map_err(|error| {
        Failure::host(
            format!("display memory: {}", chain(&error)),
            "free some memory",
        )
    })?;
    config.cards.push(Box::new(VgaCard(Arc::new(memory))));
    if let Some(rom) = &pc.vga_rom {
        config.files.push((vga::ROM_FILE.into(), rom.clone()));
    }
    if let Some(console) = &pc.debug_console {
        let file = console.try_clone();
        let file = file.map_err(Failure::refused("a descriptor"))?;
        let nonblocking = rustix::io::ioctl_fionbio(&file, true);
        nonblocking.map_err(|error| Failure::refused("the debug console's file")(error.into()))?;
        config.debug_console = Some(Box::new(DebugOutput(file)));
    }
    Ok(config)
}
