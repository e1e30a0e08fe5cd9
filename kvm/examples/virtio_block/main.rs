//! A disk for a guest in a bare exit loop: kvm-ioctls, a bus and virtio over MMIO, and no other part of a VMM.
//!
//! `cargo run -p trivisor-kvm --example virtio_block -- TEXT`: the guest reads the disk's sector and prints it.

#![expect(unsafe_code, reason = "kvm-ioctls alone, without what makes it safe")]
mod guest;

use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{Kvm, VcpuExit};
use trivisor_buses::{BufferRequest, Storage, StorageBusy, StorageOp, StorageRequest};
use trivisor_buses::{Completion, Geometry, Line, MmioBus, Shell};
use trivisor_devices_pv::block::{Block, BlockOptions};
use trivisor_memory::{GuestRam, RamLayout, RamOptions};
use trivisor_virtio_device::mmio::{self, MmioTransport};
use trivisor_virtio_device::transport::Offer;

/// What stands behind the disk: one sector, which is read at once.
struct Sector {
    ram: GuestRam,
    bytes: Vec<u8>,
    ended: VecDeque<Completion>,
}

impl Storage for Sector {
    fn geometry(&self) -> Geometry {
        Geometry {
            capacity: 512,
            read_only: true,
            physical_block: 512,
            can_discard: false,
        }
    }

    fn submit(&mut self, request: &StorageRequest<'_>) -> Result<(), StorageBusy> {
        let (mut rest, mut done) = (&self.bytes[..], request.op == StorageOp::Read);
        for segment in request.segments {
            let part = rest.split_off(..segment.len as usize);
            done &= part.is_some_and(|part| self.ram.write(segment.address, part));
        }
        let result = done.then_some(()).ok_or(io::ErrorKind::InvalidInput);
        let end = Completion::new(request.id, result.map_err(Into::into));
        self.ended.push_back(end);
        Ok(())
    }

    fn submit_buffer(&mut self, request: BufferRequest) -> Result<(), BufferRequest> {
        Err(request) // no virtio device asks for it
    }

    fn start(&mut self) {}

    fn complete(&mut self) -> Option<Completion> {
        self.ended.pop_front()
    }

    fn drain(&mut self) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let text = std::env::args().nth(1).ok_or("usage: virtio_block TEXT")?;
    let ram = GuestRam::new(RamLayout::new(1 << 20)?, &RamOptions::default())?;
    let vm = Kvm::new()?.create_vm()?;
    for slot in ram.slots() {
        let region = kvm_userspace_memory_region {
            guest_phys_addr: slot.guest_address,
            memory_size: slot.size,
            userspace_addr: slot.host_address,
            ..Default::default()
        };
        // SAFETY: `ram` is dropped after the VM.
        unsafe { vm.set_user_memory_region(region)? };
    }
    let mut vcpu = vm.create_vcpu(0)?;
    guest::load(&ram, &vcpu)?;
    let sector = Sector {
        ram: ram.clone(),
        bytes: format!("{text:.<512}").into_bytes(),
        ended: VecDeque::new(),
    };
    let disk = Block::new(BlockOptions::default(), Box::new(sector))?;
    let chip = MmioTransport::new(disk, ram.clone(), Line::detached(), Offer { packed: false });
    let shell = Shell::new("disk", mmio::WIDTHS, chip);
    let bus = Arc::new(MmioBus::default());
    bus.attach("disk", guest::DISK, mmio::SIZE, shell)?;
    let mut view = bus.view();
    loop {
        match vcpu.run()? {
            VcpuExit::MmioRead(address, data) => view.read(address, data),
            VcpuExit::MmioWrite(address, data) => view.write(address, data),
            VcpuExit::IoOut(0x3f8, data) => io::stdout().write_all(data)?,
            VcpuExit::IoOut(0x64, [0xfe]) => return Ok(()),
            exit => return Err(format!("{exit:?}").into()),
        };
    }
}
