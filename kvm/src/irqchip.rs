//! The interrupt controllers that KVM keeps in the kernel, and the way to them.

use std::sync::{Arc, Mutex, PoisonError};

use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER,
    KVM_IRQCHIP_PIC_SLAVE, KVM_PIT_SPEAKER_DUMMY, KvmIrqRouting, kvm_irq_routing_entry,
    kvm_irq_routing_entry__bindgen_ty_1, kvm_irq_routing_irqchip, kvm_irq_routing_msi, kvm_msi,
    kvm_pit_config,
};
use kvm_ioctls::VmFd;
use trivisor_buses::{InterruptPins, LineEnd, Msi, MsiSink, PinRoutes};

use crate::quirks::window::FloppyLine;
use crate::vm::{VmError, refused};

/// Which interrupt controllers live in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IrqchipKind {
    /// Local APICs only; the I/O APIC with this many pins is a device of the board. It starts
    /// fastest: no part of the kernel waits for a grace period.
    Split {
        /// Pins of the I/O APIC, whose interrupts' ends are reported.
        pins: u8,
    },
    /// Local APICs, the PC's two 8259A with their ELCR, its I/O APIC, and an 8254 with the gate and the output of
    /// port 0x61.
    Kernel,
}

/// The local APICs of a VM, as devices reach them: by messages.
#[derive(Debug)]
pub struct LocalApics {
    vm: Arc<VmFd>,
    /// The message of each pin, for KVM to know which vectors' ends to report.
    routes: Mutex<Vec<Option<Msi>>>,
}

impl LocalApics {
    pub(crate) fn new(vm: Arc<VmFd>) -> Arc<Self> {
        Arc::new(Self {
            vm,
            routes: Mutex::default(),
        })
    }
}

/// The low and the high half of an address.
const fn halves(address: u64) -> (u32, u32) {
    #[expect(clippy::cast_possible_truncation, reason = "each half is 32 bits wide")]
    let halves = (address as u32, (address >> 32) as u32);
    halves
}

impl MsiSink for LocalApics {
    fn send(&self, msi: Msi) {
        let (address_lo, address_hi) = halves(msi.address);
        let message = kvm_msi {
            address_lo,
            address_hi,
            data: msi.data,
            ..kvm_msi::default()
        };
        // A message that no local APIC takes is lost, as on a bus. A guest can send any; no error is ours.
        let _lost = self.vm.signal_msi(message);
    }
}

impl PinRoutes for LocalApics {
    fn set_route(&self, pin: u32, msi: Option<Msi>) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let at = pin as usize;
        if routes.len() <= at {
            routes.resize(at + 1, None);
        }
        match routes.get_mut(at) {
            Some(route) if *route != msi => *route = msi,
            _ => return,
        }
        let entries: Vec<_> = (0..)
            .zip(routes.iter())
            .filter_map(|(gsi, msi)| Some(entry(gsi, (*msi)?)))
            .collect();
        // The pins are few and fixed, so the table always fits; the kernel copies it.
        if let Ok(table) = KvmIrqRouting::from_entries(&entries) {
            let _refused = self.vm.set_gsi_routing(&table);
        }
    }
}

fn entry(gsi: u32, msi: Msi) -> kvm_irq_routing_entry {
    let (address_lo, address_hi) = halves(msi.address);
    let msi = kvm_irq_routing_msi {
        address_lo,
        address_hi,
        data: msi.data,
        ..kvm_irq_routing_msi::default()
    };
    kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_MSI,
        u: kvm_irq_routing_entry__bindgen_ty_1 { msi },
        ..kvm_irq_routing_entry::default()
    }
}

/// Pins of the I/O APIC in the kernel.
const IO_APIC_PINS: u32 = 24;
/// ISA interrupts: the inputs of the two 8259.
const ISA_INTERRUPTS: u32 = 16;

/// Creates the controllers of [`IrqchipKind::Kernel`], wired as on a PC: the timer's interrupt 0 is pin 2 of the I/O
/// APIC, where the 8259s have their cascade.
pub(crate) fn create(vm: &VmFd) -> Result<(), VmError> {
    vm.create_irq_chip().map_err(refused("an interrupt chip"))?;
    let pit = kvm_pit_config {
        flags: KVM_PIT_SPEAKER_DUMMY,
        ..kvm_pit_config::default()
    };
    vm.create_pit2(pit).map_err(refused("an interval timer"))?;
    let routes: Vec<_> = isa_routes().into_iter().map(pin_route).collect();
    let table = KvmIrqRouting::from_entries(&routes).map_err(|_| VmError::Refused {
        what: "a table of interrupt routes",
        source: vmm_sys_util::errno::Error::new(libc::ENOMEM),
    })?;
    vm.set_gsi_routing(&table)
        .map_err(refused("its interrupt routes"))
}

/// Interrupt, controller, pin.
fn isa_routes() -> Vec<(u32, u32, u32)> {
    let mut routes = Vec::new();
    for gsi in 0..ISA_INTERRUPTS {
        let (chip, pin) = if gsi < 8 {
            (KVM_IRQCHIP_PIC_MASTER, gsi)
        } else {
            (KVM_IRQCHIP_PIC_SLAVE, gsi - 8)
        };
        routes.push((gsi, chip, pin));
    }
    for gsi in (0..IO_APIC_PINS).filter(|gsi| *gsi != 2) {
        let pin = if gsi == 0 { 2 } else { gsi };
        routes.push((gsi, KVM_IRQCHIP_IOAPIC, pin));
    }
    routes
}

fn pin_route((gsi, irqchip, pin): (u32, u32, u32)) -> kvm_irq_routing_entry {
    let irqchip = kvm_irq_routing_irqchip { irqchip, pin };
    kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_IRQCHIP,
        u: kvm_irq_routing_entry__bindgen_ty_1 { irqchip },
        ..kvm_irq_routing_entry::default()
    }
}

/// The inputs of the interrupt controllers in the kernel.
#[derive(Debug)]
pub struct KernelPins {
    vm: Arc<VmFd>,
    floppy: FloppyLine,
}

impl KernelPins {
    pub(crate) fn new(vm: Arc<VmFd>, floppy: FloppyLine) -> Arc<Self> {
        Arc::new(Self { vm, floppy })
    }
}

impl InterruptPins for KernelPins {
    fn pin(&self, number: u8) -> Arc<dyn LineEnd> {
        let (vm, floppy) = (Arc::clone(&self.vm), self.floppy.clone());
        Arc::new(KernelPin { vm, floppy, number })
    }
}

struct KernelPin {
    vm: Arc<VmFd>,
    floppy: FloppyLine,
    number: u8,
}

impl LineEnd for KernelPin {
    fn set_level(&self, level: bool) {
        self.floppy.set(self.number, level);
        // The number is one that the routes have, so the kernel takes it.
        let _refused = self.vm.set_irq_line(self.number.into(), level);
    }

    // The kernel's controllers keep no levels of their own: a line that is high when they come back is told again.
    fn restore_level(&self, level: bool) {
        self.set_level(level);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isa_interrupts_reach_both_controllers_and_the_timer_pin_2() {
        let routes = isa_routes();
        assert_eq!(routes.len(), 16 + 23);
        for wanted in [
            (0, KVM_IRQCHIP_PIC_MASTER, 0),
            (0, KVM_IRQCHIP_IOAPIC, 2),
            (4, KVM_IRQCHIP_PIC_MASTER, 4),
            (4, KVM_IRQCHIP_IOAPIC, 4),
            (9, KVM_IRQCHIP_PIC_SLAVE, 1),
            (9, KVM_IRQCHIP_IOAPIC, 9),
            (23, KVM_IRQCHIP_IOAPIC, 23),
        ] {
            assert!(routes.contains(&wanted), "{wanted:?}");
        }
        assert!(!routes.contains(&(2, KVM_IRQCHIP_IOAPIC, 2)));
    }
}
