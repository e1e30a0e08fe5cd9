//! A disk in memory and a source of entropy for a guest whose drivers are older than virtio 1.0, or forced to be so:
//! transitional devices.
//!
//! `cargo run --example transitional -- KERNEL INITRD COMMAND-LINE`

#![expect(clippy::print_stdout, reason = "a program on a terminal")]

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use trivisor_buses::{
    BufferRequest, CharOutput, Completion, Entropy, Geometry, Segment, Storage, StorageBusy,
    StorageOp, StorageRequest,
};
use trivisor_devices_pv::block::{Block, BlockOptions};
use trivisor_devices_pv::board::{Made, Plug, PlugWith, Transitional};
use trivisor_devices_pv::rng::Rng;
use trivisor_kvm::Kvm;
use trivisor_memory::{GuestRam, RamOptions};
use trivisor_vmm_core::{BootConfig, Machine, MachineConfig, Mode, PcConfig, VirtioConfig};

/// Bytes of the disk.
const CAPACITY: usize = 8 << 20;

struct Stdout;

impl CharOutput for Stdout {
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut stdout = io::stdout();
        stdout
            .write(bytes)
            .and_then(|taken| stdout.flush().map(|()| taken))
            .unwrap_or(bytes.len())
    }
}

/// A disk that is gone with the VM.
struct RamDisk {
    ram: GuestRam,
    bytes: Vec<u8>,
    done: VecDeque<Completion>,
}

impl RamDisk {
    fn serve(&mut self, request: &StorageRequest<'_>) -> io::Result<()> {
        let mut at = usize::try_from(request.offset).map_err(io::Error::other)?;
        for segment in request.segments {
            let end = at + usize::try_from(segment.len).map_err(io::Error::other)?;
            let part = self
                .bytes
                .get_mut(at..end)
                .ok_or(io::ErrorKind::InvalidInput)?;
            let moved = match request.op {
                StorageOp::Read => self.ram.write(segment.address, part),
                _ => self.ram.read(segment.address, part),
            };
            moved.then_some(()).ok_or(io::ErrorKind::InvalidInput)?;
            at = end;
        }
        Ok(())
    }
}

impl Storage for RamDisk {
    fn geometry(&self) -> Geometry {
        Geometry {
            capacity: self.bytes.len() as u64,
            read_only: false,
            physical_block: 512,
            can_discard: false,
        }
    }

    fn submit(&mut self, request: &StorageRequest<'_>) -> Result<(), StorageBusy> {
        let (id, result) = (request.id, self.serve(request));
        self.done.push_back(Completion::new(id, result));
        Ok(())
    }

    fn submit_buffer(&mut self, request: BufferRequest) -> Result<(), BufferRequest> {
        Err(request) // no virtio device asks for it
    }

    fn start(&mut self) {}

    fn complete(&mut self) -> Option<Completion> {
        self.done.pop_front()
    }

    fn drain(&mut self) {}
}

/// The host's random bytes.
struct Urandom(GuestRam, File);

impl Entropy for Urandom {
    fn fill(&mut self, into: &[Segment]) -> io::Result<usize> {
        let first = into.first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut bytes = [0; 256];
        let len = bytes
            .len()
            .min(usize::try_from(first.len).map_err(io::Error::other)?);
        let part = bytes.get_mut(..len).unwrap_or_default();
        self.1.read_exact(part)?;
        let written = self.0.write(first.address, part);
        written
            .then_some(len)
            .ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

fn disk(ram: &GuestRam) -> io::Result<Made<Block>> {
    let storage = RamDisk {
        ram: ram.clone(),
        bytes: vec![0; CAPACITY],
        done: VecDeque::new(),
    };
    let options = BlockOptions {
        queues: 1,
        queue_size: 128,
        serial: "IN-MEMORY".into(),
    };
    let device = Block::new(options, Box::new(storage)).map_err(io::Error::other)?;
    let sources = Vec::new();
    Ok(Made::new(device, sources))
}

fn entropy(ram: &GuestRam) -> io::Result<Made<Rng>> {
    let source = Urandom(ram.clone(), File::open("/dev/urandom")?);
    let device = Rng::new(Box::new(source));
    let sources = Vec::new();
    Ok(Made::new(device, sources))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || {
        arguments
            .next()
            .ok_or("usage: transitional KERNEL INITRD COMMAND-LINE")
    };
    let (kernel, initrd) = (File::open(next()?)?, File::open(next()?)?);
    let devices: [Box<dyn Plug>; 2] = [
        Box::new(PlugWith::new("disk", disk)),
        Box::new(PlugWith::new("entropy", entropy)),
    ];
    let config = MachineConfig {
        mode: Mode::Pv,
        cpus: 1,
        memory_bytes: 256 << 20,
        ram: RamOptions::default(),
        boot: Some(BootConfig {
            kernel,
            initrd: Some(initrd),
            cmdline: next()?,
            random_seed: [0; 32],
        }),
        serial: Some(Box::new(Stdout)),
        pmem: Vec::new(),
        debug_exit: None,
        generation_id: [0; 16],
        virtio: VirtioConfig {
            devices: devices.map(|plug| Box::new(Transitional(plug)) as _).into(),
            ..VirtioConfig::default()
        },
        pc: PcConfig::default(),
    };
    let mut machine = Machine::new(&Kvm::open()?, config)?;
    machine.start(Arc::new(|| Ok(())), Box::new(|| ()))?;
    let outcome = machine.wait();
    println!("\n{outcome:?}");
    Ok(())
}
