//! Memory slots: those that stay, and those that a chipset switches while the guest runs.
//!
//! KVM cannot change whether a slot is read-only, nor move it to other memory, so a switch takes slots away and adds
//! others. Meanwhile, for some tens of microseconds, nothing answers there: firmware switches while it runs from
//! elsewhere, or is itself the vCPU that waits for the switch.

#![expect(
    unsafe_code,
    reason = "a part of our address space is given to the guest"
)]

use std::any::Any;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kvm_bindings::{KVM_MEM_READONLY, kvm_userspace_memory_region};
use kvm_ioctls::VmFd;
use trivisor_buses::{PageMapper, Responder, ShadowMap, ShadowRun};
use trivisor_memory::{FileMapping, GuestRam, Slot, SlotKind};

use crate::vm::VmError;

/// A slot as KVM has it.
type Region = kvm_userspace_memory_region;

/// Addresses below 1 MiB that a chipset of a PC switches, and what can answer there.
struct Switched {
    area: Range<u64>,
    /// The RAM of the area: its address in this process.
    ram: u64,
    /// ROMs that answer where the bus does: slots that lie in the area.
    roms: Vec<Slot>,
    /// What was set last.
    runs: Vec<ShadowRun>,
    /// Slots in use now.
    current: Vec<Region>,
}

/// Numbers of slots.
#[derive(Default)]
struct Numbers {
    /// The next one that nobody has had.
    next: u32,
    /// Those that were given back.
    free: Vec<u32>,
}

/// Memory of a card, and the slot that shows it.
struct Shown {
    pages: Arc<FileMapping>,
    region: Region,
}

#[derive(Default)]
struct Inner {
    /// Owners of the memory behind the slots, for as long as the VM.
    owners: Vec<Arc<dyn Any + Send + Sync>>,
    numbers: Numbers,
    /// Memory of cards that shows now.
    shown: Vec<Shown>,
    switched: Option<Switched>,
}

/// The memory slots of a VM.
pub struct MemorySlots {
    vm: Arc<VmFd>,
    inner: Mutex<Inner>,
}

impl std::fmt::Debug for MemorySlots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemorySlots").finish_non_exhaustive()
    }
}

impl MemorySlots {
    pub(crate) fn new(vm: Arc<VmFd>) -> Arc<Self> {
        Arc::new(Self {
            vm,
            inner: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Maps `slot` for good; `owner` keeps its memory alive.
    pub(crate) fn add(&self, slot: Slot, owner: Arc<dyn Any + Send + Sync>) -> Result<(), VmError> {
        let mut inner = self.lock();
        let region = region(&slot, inner.numbers.take());
        self.set(region)?;
        inner.owners.push(owner);
        Ok(())
    }

    /// Maps RAM, but for the addresses of `hole`, a part of its first run: those are switched later, and until then
    /// nothing answers there.
    pub(crate) fn add_ram(&self, ram: &GuestRam, hole: &Range<u64>) -> Result<(), VmError> {
        let owner: Arc<dyn Any + Send + Sync> = Arc::new(ram.clone());
        for slot in ram.slots() {
            let end = slot.guest_address + slot.size;
            if slot.guest_address >= hole.end || end <= hole.start {
                self.add(slot, owner.clone())?;
                continue;
            }
            let part = |part: Range<u64>| Slot {
                guest_address: part.start,
                size: part.end.saturating_sub(part.start),
                host_address: slot.host_address + (part.start - slot.guest_address),
                kind: slot.kind,
            };
            let (start, stop) = (hole.start.max(slot.guest_address), hole.end.min(end));
            for part in [part(slot.guest_address..start), part(stop..end)] {
                if part.size > 0 {
                    self.add(part, owner.clone())?;
                }
            }
            self.lock().switched = Some(Switched {
                area: start..stop,
                ram: slot.host_address + (start - slot.guest_address),
                roms: Vec::new(),
                runs: vec![ShadowRun {
                    start,
                    size: stop - start,
                    read: Responder::Bus,
                    write: Responder::Bus,
                }],
                current: Vec::new(),
            });
        }
        Ok(())
    }

    /// A read-only slot that answers wherever the bus does; it has no effect outside of the addresses that are
    /// switched.
    pub(crate) fn add_rom(
        &self,
        slot: Slot,
        owner: Arc<dyn Any + Send + Sync>,
    ) -> Result<(), VmError> {
        let inner = &mut *self.lock();
        inner.owners.push(owner);
        let Some(switched) = &mut inner.switched else {
            return Ok(());
        };
        switched.roms.push(slot);
        let runs = switched.runs.clone();
        self.switch(inner, &runs)
    }

    /// Makes `runs` true; after an error, some of them are.
    fn switch(&self, inner: &mut Inner, runs: &[ShadowRun]) -> Result<(), VmError> {
        let Some(switched) = &mut inner.switched else {
            return Ok(());
        };
        switched.runs = runs.to_vec();
        let wanted = switched.slots(runs);
        let (kept, gone): (Vec<Region>, Vec<Region>) = switched
            .current
            .iter()
            .partition(|region| wanted.iter().any(|slot| is(region, slot)));
        for old in gone {
            self.set(Region {
                memory_size: 0,
                ..old
            })?;
            switched.current.retain(|region| region.slot != old.slot);
            inner.numbers.free.push(old.slot);
        }
        for slot in wanted {
            if kept.iter().any(|region| is(region, &slot)) {
                continue;
            }
            let region = region(&slot, inner.numbers.take());
            self.set(region)?;
            switched.current.push(region);
        }
        Ok(())
    }

    fn set(&self, region: Region) -> Result<(), VmError> {
        // SAFETY: the region describes a live mapping whose owner is kept in `owners` for as long as the VM; KVM
        // itself checks alignment and overlap.
        let result = unsafe { self.vm.set_user_memory_region(region) };
        result.map_err(|source| VmError::Slot {
            address: region.guest_phys_addr,
            size: region.memory_size,
            source,
        })
    }
}

impl Numbers {
    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            let number = self.next;
            self.next += 1;
            number
        })
    }
}

impl ShadowMap for MemorySlots {
    fn set_shadow(&self, runs: &[ShadowRun]) {
        // The slots are of a kind that KVM took at the start, so only a kernel without memory refuses one: the guest
        // then meets the bus where it expects RAM.
        let _refused = self.switch(&mut self.lock(), runs);
    }
}

impl PageMapper for MemorySlots {
    fn show(&self, pages: &Arc<FileMapping>, address: Option<u64>) {
        let inner = &mut *self.lock();
        let old = inner
            .shown
            .iter()
            .position(|shown| Arc::ptr_eq(&shown.pages, pages));
        if let Some(at) = old {
            let region = Region {
                memory_size: 0,
                ..inner.shown[at].region
            };
            if self.set(region).is_err() {
                // It stays where it is, and so does what it shows.
                return;
            }
            inner.shown.swap_remove(at);
            inner.numbers.free.push(region.slot);
        }
        let Some(address) = address else { return };
        let region = region(&pages.slot(address), inner.numbers.take());
        if self.set(region).is_ok() {
            let pages = Arc::clone(pages);
            inner.shown.push(Shown { pages, region });
        } else {
            // RAM or another card is there.
            inner.numbers.free.push(region.slot);
        }
    }
}

impl Switched {
    /// The slots that make `runs` true, as far as slots can: where the bus answers reads and RAM takes writes, the
    /// writes come out of the guest for a device to carry on.
    fn slots(&self, runs: &[ShadowRun]) -> Vec<Slot> {
        let mut slots = Vec::new();
        for run in runs {
            let start = run.start.max(self.area.start);
            let end = run.start.saturating_add(run.size).min(self.area.end);
            if start >= end {
                continue;
            }
            let kind = match (run.read, run.write) {
                (Responder::Ram, Responder::Ram) => SlotKind::Ram,
                (Responder::Ram, Responder::Bus) => SlotKind::ReadOnlyTrap,
                (Responder::Bus, _) => {
                    slots.extend(self.roms.iter().filter_map(|rom| part(rom, start, end)));
                    continue;
                }
            };
            slots.push(Slot {
                guest_address: start,
                size: end - start,
                host_address: self.ram + (start - self.area.start),
                kind,
            });
        }
        slots
    }
}

/// What of `slot` lies between two addresses.
fn part(slot: &Slot, start: u64, end: u64) -> Option<Slot> {
    let start = start.max(slot.guest_address);
    let end = end.min(slot.guest_address + slot.size);
    (start < end).then(|| Slot {
        guest_address: start,
        size: end - start,
        host_address: slot.host_address + (start - slot.guest_address),
        kind: slot.kind,
    })
}

const fn region(slot: &Slot, number: u32) -> Region {
    Region {
        slot: number,
        flags: if slot.kind.is_read_only() {
            KVM_MEM_READONLY
        } else {
            0
        },
        guest_phys_addr: slot.guest_address,
        memory_size: slot.size,
        userspace_addr: slot.host_address,
    }
}

/// Whether KVM has `slot` already.
fn is(found: &Region, slot: &Slot) -> bool {
    region(slot, found.slot) == *found
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: u64 = 1024;

    fn run(start: u64, size: u64, read: Responder, write: Responder) -> ShadowRun {
        ShadowRun {
            start,
            size,
            read,
            write,
        }
    }

    #[test]
    fn runs_become_slots_of_ram_and_rom() {
        let switched = Switched {
            area: 0xa_0000..0x10_0000,
            ram: 0x7000_0000,
            roms: vec![Slot {
                guest_address: 0xe_0000,
                size: 128 * K,
                host_address: 0x5000_0000,
                kind: SlotKind::Rom,
            }],
            runs: Vec::new(),
            current: Vec::new(),
        };
        let slots = switched.slots(&[
            run(0xc_0000, 64 * K, Responder::Ram, Responder::Ram),
            run(0xd_0000, 96 * K, Responder::Bus, Responder::Bus),
            run(0xe_8000, 32 * K, Responder::Ram, Responder::Bus),
            run(0xf_0000, 64 * K, Responder::Bus, Responder::Ram),
        ]);
        let slot = |guest_address, size, host_address, kind| Slot {
            guest_address,
            size,
            host_address,
            kind,
        };
        assert_eq!(
            slots,
            [
                slot(0xc_0000, 64 * K, 0x7002_0000, SlotKind::Ram),
                slot(0xe_0000, 32 * K, 0x5000_0000, SlotKind::Rom),
                slot(0xe_8000, 32 * K, 0x7004_8000, SlotKind::ReadOnlyTrap),
                slot(0xf_0000, 64 * K, 0x5001_0000, SlotKind::Rom),
            ]
        );
        // Outside of the area nothing is switched.
        let slots = switched.slots(&[run(0x9_0000, 0x2_0000, Responder::Ram, Responder::Ram)]);
        assert_eq!(slots, [slot(0xa_0000, 64 * K, 0x7000_0000, SlotKind::Ram)]);
    }
}
