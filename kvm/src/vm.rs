//! A virtual machine: its memory slots, its interrupt chips, its vCPUs.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use kvm_bindings::{
    CpuId, KVM_CAP_EXIT_ON_EMULATION_FAILURE, KVM_CAP_SPLIT_IRQCHIP, KVM_MAX_CPUID_ENTRIES,
    kvm_enable_cap,
};
use kvm_ioctls::{Cap, VmFd};
use thiserror::Error;
use trivisor_buses::Posted;
use trivisor_memory::{GuestRam, Slot};
use vmm_sys_util::errno;

use crate::beside::{Beside, Pending};
use crate::cpuid;
use crate::doorbell::VmDoorbells;
use crate::host::Kvm;
use crate::irqchip::{self, IrqchipKind, KernelPins, LocalApics};
use crate::posted::{PostedWrites, VmPosted};
use crate::quirks::window::FloppyLine;
use crate::quirks::{self, pvm::Filter};
use crate::slots::MemorySlots;
use crate::vcpu::Vcpu;

/// KVM refused a step of making a VM.
#[derive(Debug, Error)]
pub enum VmError {
    /// An ioctl failed.
    #[error("KVM refused {what}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Its answer.
        source: errno::Error,
    },
    /// A memory slot failed.
    #[error("KVM refused {size:#x} bytes of memory at {address:#x}")]
    Slot {
        /// Guest-physical address.
        address: u64,
        /// Bytes.
        size: u64,
        /// Its answer.
        source: errno::Error,
    },
    /// A vCPU failed.
    #[error("KVM refused {what} of vCPU {index}")]
    Vcpu {
        /// The vCPU.
        index: u8,
        /// What was asked for.
        what: &'static str,
        /// Its answer.
        source: errno::Error,
    },
    /// The kick signal cannot be handled.
    #[error("the signal that stops vCPUs cannot be set up")]
    Signal(#[source] errno::Error),
}

/// Turns an ioctl's answer into a [`VmError`].
pub(crate) fn refused(what: &'static str) -> impl FnOnce(errno::Error) -> VmError {
    move |source| VmError::Refused { what, source }
}

/// The address of three pages that VT-x without unrestricted guest needs in real mode: below the BIOS.
const TSS_ADDRESS: usize = 0xfffb_d000;

/// A virtual machine of KVM.
pub struct Vm {
    fd: Arc<VmFd>,
    apics: Arc<LocalApics>,
    kvm: Arc<kvm_ioctls::Kvm>,
    /// Until the first vCPU is made, on PVM hosts.
    beside: Option<Beside>,
    /// What it was asked for.
    supported: Option<Pending<Result<CpuId, VmError>>>,
    /// Since the first vCPU.
    cpuid: Option<CpuId>,
    vcpus: u8,
    pvm: bool,
    /// An ISA interrupt that firmware waits for, where the kernel has the 8259s.
    floppy: FloppyLine,
    /// It has 8259s, an I/O APIC and an 8254 in the kernel.
    kernel_irqchip: bool,
    slots: Arc<MemorySlots>,
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm")
            .field("vcpus", &self.vcpus)
            .field("pvm", &self.pvm)
            .finish_non_exhaustive()
    }
}

impl Vm {
    /// Creates a VM that will have `vcpus` vCPUs. It belongs to this process: a fork cannot use it.
    ///
    /// # Errors
    /// What KVM refused.
    pub fn new(kvm: &Kvm, irqchip: IrqchipKind, vcpus: u8) -> Result<Self, VmError> {
        let pvm = quirks::pvm::is_host();
        let kvm_fd = Arc::clone(kvm.fd());
        let beside = pvm.then(|| Beside::new(kvm.errands()));
        // There, each CPUID instruction of KVM is an exit of the machine that it runs in: some 300 us together.
        let supported = beside.as_ref().map(|beside| {
            let kvm = Arc::clone(&kvm_fd);
            beside.begin(move || supported_by(&kvm))
        });
        let fd = Arc::new(kvm.fd().create_vm().map_err(refused("a virtual machine"))?);
        match irqchip {
            IrqchipKind::Split { pins } => enable(
                &fd,
                KVM_CAP_SPLIT_IRQCHIP,
                pins.into(),
                "a split interrupt chip",
            )?,
            IrqchipKind::Kernel => irqchip::create(&fd)?,
        }
        if pvm {
            quirks::pvm::enable_filter(&fd)?;
        } else {
            fd.set_tss_address(TSS_ADDRESS)
                .map_err(refused("the address of its task state"))?;
        }
        // Older kernels lack it and hand failures of ring 0 back all the same.
        let _older = enable(
            &fd,
            KVM_CAP_EXIT_ON_EMULATION_FAILURE,
            1,
            "exits on emulation failure",
        );
        let apics = LocalApics::new(Arc::clone(&fd));
        let slots = MemorySlots::new(Arc::clone(&fd));
        Ok(Self {
            fd,
            apics,
            kvm: kvm_fd,
            beside,
            supported,
            cpuid: None,
            vcpus,
            pvm,
            floppy: FloppyLine::default(),
            kernel_irqchip: irqchip == IrqchipKind::Kernel,
            slots,
        })
    }

    /// The way of messages to the local APICs.
    #[must_use]
    pub const fn local_apics(&self) -> &Arc<LocalApics> {
        &self.apics
    }

    /// Where bells for the guest's writes come from.
    #[must_use]
    pub fn doorbells(&self) -> Arc<VmDoorbells> {
        Arc::new(VmDoorbells(Arc::clone(&self.fd)))
    }

    /// Where writes to registers that move are posted; `None`: this KVM posts none to ports.
    #[must_use]
    pub fn posted_places(&self) -> Option<Arc<VmPosted>> {
        let posts = self.fd.check_extension(Cap::CoalescedPio);
        posts.then(|| Arc::new(VmPosted(Arc::clone(&self.fd))))
    }

    /// Maps `slot` into the guest; `owner` keeps its memory alive as long as the VM.
    ///
    /// # Errors
    /// What KVM refused.
    pub fn add_slot(&self, slot: Slot, owner: Arc<dyn Any + Send + Sync>) -> Result<(), VmError> {
        self.slots.add(slot, owner)
    }

    /// Maps RAM. In `hole`, a part of its first run, nothing answers before
    /// [`memory_slots`](Self::memory_slots) are told who does; an empty one means that there is none.
    ///
    /// # Errors
    /// What KVM refused.
    pub fn add_ram(&self, ram: &GuestRam, hole: &Range<u64>) -> Result<(), VmError> {
        self.slots.add_ram(ram, hole)
    }

    /// A part of host memory that answers in the hole wherever the bus does.
    ///
    /// # Errors
    /// What KVM refused.
    pub fn add_rom(&self, slot: Slot, owner: Arc<dyn Any + Send + Sync>) -> Result<(), VmError> {
        self.slots.add_rom(slot, owner)
    }

    /// The memory slots, for who switches addresses between RAM and the bus.
    #[must_use]
    pub const fn memory_slots(&self) -> &Arc<MemorySlots> {
        &self.slots
    }

    /// The inputs of the interrupt controllers in the kernel; `None`: a board has its own.
    #[must_use]
    pub fn pins(&self) -> Option<Arc<KernelPins>> {
        self.kernel_irqchip
            .then(|| KernelPins::new(Arc::clone(&self.fd), self.floppy.clone()))
    }

    /// Creates a vCPU; its index is its APIC identifier.
    ///
    /// # Errors
    /// What KVM refused.
    pub fn create_vcpu(&mut self, index: u8) -> Result<Vcpu, VmError> {
        // No earlier, for RAM would have to wait as well.
        let filter = self.beside.take();
        let filter = filter.map(|beside| Filter::begin(&self.fd, beside));
        let fd = self
            .fd
            .create_vcpu(index.into())
            .map_err(|source| VmError::Vcpu {
                index,
                what: "creation",
                source,
            })?;
        let line = self.pvm && self.kernel_irqchip && index == 0;
        let line = line.then(|| self.floppy.clone());
        let cpuid = cpuid::for_vcpu(self.cpuid()?, index);
        Vcpu::new(fd, index, &cpuid, filter, self.pvm, line)
    }

    /// What its vCPUs can do.
    fn cpuid(&mut self) -> Result<&CpuId, VmError> {
        let cpuid = match self.cpuid.take() {
            Some(cpuid) => cpuid,
            None => {
                let supported = self.supported.take().and_then(Pending::wait);
                let supported = supported.unwrap_or_else(|| supported_by(&self.kvm))?;
                cpuid::for_vm(&supported, self.vcpus, self.pvm)
            }
        };
        Ok(self.cpuid.insert(cpuid))
    }

    /// Has writes of all of its `vcpus` posted at `places`; once. Who looks at a device there from outside of the
    /// guest carries them out before. `None`: this KVM posts no writes.
    ///
    /// # Errors
    /// What KVM refused.
    pub fn post_writes(
        &self,
        vcpus: &mut [Vcpu],
        places: &[Posted],
    ) -> Result<Option<Arc<PostedWrites>>, VmError> {
        let Some(first) = vcpus.first() else {
            return Ok(None);
        };
        let posted = PostedWrites::new(&self.fd, first.fd(), places);
        let Some(posted) = posted.map_err(refused("to post writes"))? else {
            return Ok(None);
        };
        for vcpu in vcpus {
            vcpu.posts(posted.clone());
        }
        Ok(Some(posted))
    }
}

fn supported_by(kvm: &kvm_ioctls::Kvm) -> Result<CpuId, VmError> {
    kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(refused("the list of CPU features"))
}

pub(crate) fn enable(
    fd: &VmFd,
    capability: u32,
    argument: u64,
    what: &'static str,
) -> Result<(), VmError> {
    fd.enable_cap(&kvm_enable_cap {
        cap: capability,
        args: [argument, 0, 0, 0],
        ..kvm_enable_cap::default()
    })
    .map_err(refused(what))
}
