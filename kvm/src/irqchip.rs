//! The interrupt controllers that KVM keeps in the kernel, and the way to them.

use std::sync::{Arc, Mutex, PoisonError};

use kvm_bindings::{
    KVM_IRQ_ROUTING_MSI, KvmIrqRouting, kvm_irq_routing_entry, kvm_irq_routing_entry__bindgen_ty_1,
    kvm_irq_routing_msi, kvm_msi,
};
use kvm_ioctls::VmFd;
use trivisor_buses::{Msi, MsiSink, PinRoutes};

/// Which interrupt controllers live in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IrqchipKind {
    /// Local APICs only; the I/O APIC with this many pins is a device of the board. It starts
    /// fastest: no part of the kernel waits for a grace period.
    Split {
        /// Pins of the I/O APIC, whose interrupts' ends are reported.
        pins: u8,
    },
    /// Local APICs, the PC's two 8259A and its I/O APIC.
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
