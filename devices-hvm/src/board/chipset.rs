//! PCI's bus 0, and the functions of the chipset on it but IDE.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use trivisor_buses::{FitError, Line, PortBus, Shell, Slots, Widths};
use trivisor_memory::RamLayout;
use trivisor_pci::{DeviceFunction, FunctionShell, PciFunction, RootBus, Windows, ports};

use crate::i440fx::{self, I440fx};
use crate::map;
use crate::piix3::Piix3;
use crate::piix4_pm::{self, Apm, FrontButton, Gpe0, Piix4Pm, PmBlock};

/// Subsystem of the host bridge by which SeaBIOS knows a virtual machine with a [`FwCfg`](crate::fw_cfg::FwCfg): Red
/// Hat, QEMU.
const VIRTUAL_MACHINE: (u16, u16) = (0x1af4, 0x1100);

/// PCI's bus 0 with its configuration ports, host bridge and ISA bridge; `isa` are lines to the ISA interrupts.
pub(super) fn bus_and_bridges(
    slots: &mut Slots,
    isa: [Line; 16],
    without_firmware: bool,
) -> Result<RootBus, FitError> {
    let host = slots.host().clone();
    let mut south = Piix3::new(isa).map_err(FitError::chip("piix3"))?;
    // The bus numbers its lines from device 0 on, the chipset its PIRQs from device 1 on.
    let intx = [3, 0, 1, 2].map(|pirq| south.pirq(pirq));
    let bus = RootBus::new(slots.ports(), slots.memory(), Some(intx));

    let options = i440fx::Options {
        subsystem: VIRTUAL_MACHINE,
        pam: if without_firmware {
            [0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33]
        } else {
            [0; 7]
        },
    };
    let north = I440fx::new(options, host.shadow.clone()).map_err(FitError::chip("i440fx"))?;
    let (at, size) = (i440fx::AREA, i440fx::AREA_SIZE);
    let chip = north.shadow_writes(host.dma.clone());
    slots.mmio("i440fx-shadow", at, size, Widths::ANY, chip)?;
    let north = add(slots, &bus, "i440fx", (map::HOST_BRIDGE, 0), north)?;
    if without_firmware {
        // The memory slots hear of it now.
        north.with(|_| ());
    }

    let reset_port = south.reset_port(host.events.clone());
    let chip = bus.config_ports().with_passed(Box::new(reset_port));
    let (at, ports) = (map::PCI_CONFIG, ports::PORTS);
    slots.pio("pci-config", at, ports, ports::WIDTHS, chip)?;
    if without_firmware {
        south
            .assign_routes(map::PIRQ_IRQS)
            .map_err(FitError::chip("piix3"))?;
    }
    add(slots, &bus, "piix3", (map::SOUTH_BRIDGE, 0), south)?;
    Ok(bus)
}

/// Power management: the function, and the ports that it moves.
pub(super) fn power(
    slots: &mut Slots,
    bus: &RootBus,
    sci: Line,
    without_firmware: bool,
) -> Result<(), FitError> {
    let host = slots.host().clone();
    let (timer, end) = host.timers.timer().map_err(FitError::chip("piix4-pm"))?;
    let block = PmBlock::new(sci, host.clock.clone(), timer, host.events.clone());
    let block = Shell::new("piix4-pm-block", piix4_pm::WIDTHS, block);
    end.wakes(&block);
    slots.component("piix4-pm-block", block.clone());
    slots.power_button(Arc::new(FrontButton(block.clone())));

    let place = Arc::new(PortsOnBus::new(slots.ports(), block.clone()));
    let chip = Piix4Pm::new(Arc::new(move |base| place.set(base)));
    let mut chip = chip.map_err(FitError::chip("piix4-pm"))?;
    if without_firmware {
        chip.assign_base(map::POWER_MANAGEMENT)
            .map_err(FitError::chip("piix4-pm"))?;
    }
    let at = (map::SOUTH_BRIDGE, map::PM_FUNCTION);
    add(slots, bus, "piix4-pm", at, chip)?.with(|_| ());

    let chip = Apm::new(block);
    slots.pio("apm", map::APM, piix4_pm::APM_PORTS, Widths::BYTES, chip)?;
    let (ports, widths) = (piix4_pm::GPE_PORTS, piix4_pm::WIDTHS);
    slots.pio("gpe0", map::GPE0, ports, widths, Gpe0::default())?;
    Ok(())
}

/// Ports of a chip that a PCI function moves by a register of its own.
struct PortsOnBus {
    /// The bus holds the function, not the other way round.
    ports: Weak<PortBus>,
    block: Arc<Shell<PmBlock>>,
    now: Mutex<Option<u16>>,
}

impl PortsOnBus {
    fn new(ports: &Arc<PortBus>, block: Arc<Shell<PmBlock>>) -> Self {
        Self {
            ports: Arc::downgrade(ports),
            block,
            now: Mutex::new(None),
        }
    }

    fn set(&self, base: Option<u16>) {
        let Some(ports) = self.ports.upgrade() else {
            return;
        };
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = now.take() {
            ports.detach(old.into());
        }
        *now = base.filter(|base| {
            // Where others answer already, these ports do not.
            let (name, size) = (self.block.name(), piix4_pm::PM_PORTS);
            let attached = ports.attach(name, (*base).into(), size.into(), self.block.clone());
            attached.is_ok()
        });
    }
}

/// Puts a function of the chipset into its place on the bus.
pub(super) fn add<F: PciFunction + 'static>(
    slots: &mut Slots,
    bus: &RootBus,
    name: &'static str,
    (device, function): (u8, u8),
    chip: F,
) -> Result<Arc<FunctionShell<F>>, FitError> {
    let at = DeviceFunction::from_bits(device << 3 | function);
    let shell = bus.add_at(name, at, chip).map_err(FitError::chip(name))?;
    slots.component(name, shell.clone());
    Ok(shell)
}

/// Where PCI functions may be when there is no firmware to say.
pub(super) fn windows(ram: RamLayout) -> Windows {
    let (io, memory) = (map::PCI_PORTS, map::pci_memory(ram.low().size));
    let [a, b, c, d] = map::PIRQ_IRQS;
    Windows {
        io: u64::from(*io.start())..u64::from(*io.end()) + 1,
        memory32: u64::from(memory)..u64::from(map::PCI_MEMORY_LAST) + 1,
        memory64: 0..0,
        irqs: [d, a, b, c],
    }
}
