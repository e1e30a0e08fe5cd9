//! Posted writes: KVM keeps them in a ring that it shares with us, instead of coming out of the guest for each.
//!
//! Source: Documentation/virt/kvm/api.rst, 4.116 (KVM_REGISTER_COALESCED_MMIO).
//!
//! The ring belongs to the VM, so that one order holds for the writes of all vCPUs, to ports and to memory. It is emptied
//! whenever a vCPU has come out, before its exit is looked at.

#![expect(unsafe_code, reason = "a page is shared with the kernel")]

use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kvm_bindings::{kvm_coalesced_mmio, kvm_coalesced_mmio_ring};
use kvm_ioctls::{Cap, IoEventAddress, VcpuFd, VmFd};
use trivisor_buses::Posted;
use vmm_sys_util::errno;

use crate::exit::Io;

/// Bytes of a page, and of the ring.
const PAGE: usize = 4096;

/// Writes for which the ring has room, and one.
#[expect(clippy::cast_possible_truncation, reason = "it is 170")]
const PLACES: u32 =
    ((PAGE - size_of::<kvm_coalesced_mmio_ring>()) / size_of::<kvm_coalesced_mmio>()) as u32;

/// The posted writes of a VM.
#[derive(Debug)]
pub struct PostedWrites {
    /// Held while writes are carried out, so that they stay in their order.
    turn: Mutex<()>,
    ring: Ring,
}

impl PostedWrites {
    /// Has KVM post writes at `places`; `None`: this KVM posts none. The ring is reached through any vCPU.
    pub(crate) fn new(
        vm: &VmFd,
        vcpu: &VcpuFd,
        places: &[Posted],
    ) -> Result<Option<Arc<Self>>, errno::Error> {
        // The answer is the number of the page behind a vCPU's first that is the ring.
        let page = usize::try_from(vm.check_extension_int(Cap::CoalescedMmio)).unwrap_or(0);
        if page == 0 || places.is_empty() {
            return Ok(None);
        }
        let ring = Ring::new(vcpu, page)?;
        let ports = vm.check_extension(Cap::CoalescedPio);
        for place in places {
            match *place {
                Posted::Ports { .. } if !ports => {}
                Posted::Ports { first, count } => {
                    let at = IoEventAddress::Pio(first.into());
                    vm.register_coalesced_mmio(at, count.into())?;
                }
                Posted::Memory { address, size } => {
                    let at = IoEventAddress::Mmio(address);
                    vm.register_coalesced_mmio(at, size)?;
                }
            }
        }
        Ok(Some(Arc::new(Self {
            turn: Mutex::default(),
            ring,
        })))
    }

    /// Carries out what was written until now. No device's lock may be held.
    pub fn carry_out(&self, io: &mut impl Io) {
        let (first, last) = self.ring.ends();
        if first == last {
            return;
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // What comes meanwhile is for the next turn: a guest can write as fast as this reads.
        let (mut first, last) = self.ring.ends();
        while first != last {
            let write = self.ring.at(first);
            // SAFETY: KVM fills the field in every entry, and all values of it are valid.
            let is_port = unsafe { write.__bindgen_anon_1.pio } != 0;
            let len = usize::try_from(write.len).unwrap_or(usize::MAX);
            let data = write.data.get(..len).unwrap_or(&write.data);
            if is_port {
                #[expect(clippy::cast_possible_truncation, reason = "ports have 16 bits")]
                io.port_write(write.phys_addr as u16, data);
            } else {
                io.mmio_write(write.phys_addr, data);
            }
            first = (first + 1) % PLACES;
            // Only now: who finds the ring empty may rely on all having reached its device.
            self.ring.taken_until(first);
        }
    }
}

/// A mapping of our own of the ring.
#[derive(Debug)]
struct Ring(NonNull<kvm_coalesced_mmio_ring>);

// SAFETY: the page is shared memory; its indices are only touched through atomics, and an entry only by who holds the turn.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl Ring {
    fn new(vcpu: &VcpuFd, page: usize) -> Result<Self, errno::Error> {
        let offset = page * PAGE;
        #[expect(clippy::cast_possible_wrap, reason = "a few pages")]
        let offset = offset as libc::off_t;
        // SAFETY: a new shared mapping of a page that KVM documents; the kernel picks the address.
        let mapped = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                vcpu.as_raw_fd(),
                offset,
            )
        };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error().into());
        }
        let ring = NonNull::new(mapped.cast()).ok_or_else(|| errno::Error::new(libc::EFAULT))?;
        Ok(Self(ring))
    }

    /// The place of the oldest write, and the one behind the newest.
    fn ends(&self) -> (u32, u32) {
        let ring = self.0.as_ptr();
        // SAFETY: the mapping lives as long as `self`; here and in the kernel the indices are touched as a whole.
        let (first, last) = unsafe {
            (
                AtomicU32::from_ptr(&raw mut (*ring).first),
                AtomicU32::from_ptr(&raw mut (*ring).last),
            )
        };
        let last = last.load(Ordering::Acquire);
        (first.load(Ordering::Acquire) % PLACES, last % PLACES)
    }

    /// The write at `place`, which is one of the ring's.
    fn at(&self, place: u32) -> kvm_coalesced_mmio {
        // SAFETY: all places lie in the mapping; KVM does not touch one before it is given back.
        unsafe {
            let writes =
                (&raw const (*self.0.as_ptr()).coalesced_mmio).cast::<kvm_coalesced_mmio>();
            writes.add((place % PLACES) as usize).read()
        }
    }

    fn taken_until(&self, place: u32) {
        // SAFETY: as in `ends`.
        let first = unsafe { AtomicU32::from_ptr(&raw mut (*self.0.as_ptr()).first) };
        first.store(place, Ordering::Release);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, made in `new`, and nothing refers to it any more.
        unsafe {
            libc::munmap(self.0.as_ptr().cast(), PAGE);
        }
    }
}
