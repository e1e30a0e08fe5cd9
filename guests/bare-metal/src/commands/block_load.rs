//! A virtio block device kept busy, to measure what stands behind it.
//!
//! virtio-drivers' own driver of block devices holds 16 requests; this one has the same queue and room for more. It
//! accepts neither indirect descriptors, for which that queue allocates, nor event indices: it polls, and wants no
//! interrupt. All requests that it can begin at once, it begins with one notification.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use super::load::{self, Idle, Random, Until};
use crate::cpu;
use crate::lean::Lean;
use crate::say;
use crate::script::{Failure, Words, expect};
use crate::virtio::{Device, Identity};

const QUEUE: u16 = 0;
/// Descriptors: three a request, and a power of two.
const DESCRIPTORS: usize = 128;
/// Most requests at a time.
const DEPTH: usize = 32;
/// Most bytes of one.
const BYTES: usize = 128 << 10;
const SECTOR: u64 = 512;
/// VIRTIO_F_VERSION_1, and VIRTIO_BLK_F_FLUSH, without which each write would be flushed.
const FEATURES: u64 = 1 << 32 | 1 << 9;
/// VIRTIO_BLK_T_IN and VIRTIO_BLK_T_OUT.
const READ: u32 = 0;
const WRITE: u32 = 1;
/// Requests of a slot before the measurement.
const WARM_UP: u64 = 4;

/// What a request of its own takes.
struct Slot {
    header: Box<[u8; 16]>,
    status: Box<[u8; 1]>,
    data: Vec<u8>,
}

/// A disk that requests of one kind and size go to.
struct Load {
    // Dropped first, which resets the device: it must not write to what follows any more.
    transport: Lean,
    queue: VirtQueue<Identity, DESCRIPTORS>,
    slots: Vec<Slot>,
    /// The slot of each descriptor that begins a request.
    owners: [usize; DESCRIPTORS],
    kind: u32,
    /// Places where a request can be.
    places: u64,
    random: Random,
}

impl Load {
    fn open(device: &Device, kind: u32, bytes: usize, depth: usize) -> Result<Self, Failure> {
        let mut transport = Lean::open(device)?;
        expect("features", FEATURES, transport.begin(FEATURES))?;
        let capacity: [u32; 2] = [
            transport.read_config_space(0)?,
            transport.read_config_space(4)?,
        ];
        let capacity = u64::from(capacity[0]) | u64::from(capacity[1]) << 32;
        let mut queue = VirtQueue::new(&mut transport, QUEUE, false, false)?;
        queue.set_dev_notify(false);
        transport.finish_init();
        let slot = || Slot {
            header: Box::new([0; 16]),
            status: Box::new([0; 1]),
            data: vec![0x5a; bytes],
        };
        Ok(Self {
            transport,
            queue,
            slots: (0..depth).map(|_| slot()).collect(),
            owners: [0; DESCRIPTORS],
            kind,
            places: (capacity * SECTOR / bytes as u64).max(1),
            random: Random::default(),
        })
    }

    /// Makes a request available.
    fn add(&mut self, index: usize) -> Result<(), Failure> {
        let place = self.random.below(self.places);
        let slot = &mut self.slots[index];
        let sector = place * (slot.data.len() as u64 / SECTOR);
        slot.header[..4].copy_from_slice(&self.kind.to_le_bytes());
        slot.header[8..].copy_from_slice(&sector.to_le_bytes());
        slot.status[0] = 0xff;
        let (header, status) = (&slot.header[..], &mut slot.status[..]);
        // SAFETY: the slot's memory is not touched before `take`, and outlives the queue.
        let token = unsafe {
            if self.kind == WRITE {
                self.queue.add(&[header, &slot.data], &mut [status])
            } else {
                self.queue.add(&[header], &mut [&mut slot.data, status])
            }
        }?;
        self.owners[usize::from(token)] = index;
        Ok(())
    }

    /// Takes back a request that has ended; its slot.
    fn take(&mut self, token: u16) -> Result<usize, Failure> {
        let index = self.owners[usize::from(token) % DESCRIPTORS];
        let slot = &mut self.slots[index];
        let (header, status) = (&slot.header[..], &mut slot.status[..]);
        // SAFETY: the same memory as in `add`.
        unsafe {
            if self.kind == WRITE {
                self.queue
                    .pop_used(token, &[header, &slot.data], &mut [status])
            } else {
                self.queue
                    .pop_used(token, &[header], &mut [&mut slot.data, status])
            }
        }?;
        expect("status", 0_u8, slot.status[0])?;
        Ok(index)
    }

    fn notify(&mut self) {
        if self.queue.should_notify() {
            self.transport.notify(QUEUE);
        }
    }

    /// Keeps all slots busy, then waits for the last; requests and cycles.
    fn run(&mut self, until: Until) -> Result<(u64, u64), Failure> {
        let start = cpu::tsc();
        let (mut begun, mut ended) = (0, 0);
        let mut goes_on = true;
        let mut idle = Idle::default();
        for index in 0..self.slots.len() {
            self.add(index)?;
            begun += 1;
        }
        self.notify();
        while ended < begun {
            let before = begun;
            while let Some(token) = self.queue.peek_used() {
                let index = self.take(token)?;
                ended += 1;
                idle.end();
                goes_on = goes_on && until.goes_on(begun, ended, start);
                if goes_on {
                    self.add(index)?;
                    begun += 1;
                }
            }
            if begun != before {
                self.notify();
            }
            idle.look("request")?;
        }
        Ok((ended, cpu::tsc().wrapping_sub(start)))
    }
}

/// `read|write BYTES DEPTH ops|ms NUMBER`
///
/// # Errors
/// A request that fails, besides those of every command.
pub fn run(device: &Device, mut words: Words<'_>) -> Result<(), Failure> {
    let (name, kind) = match words.word() {
        Some("read") => ("read", READ),
        Some("write") => ("write", WRITE),
        _ => return Err(Failure::Usage),
    };
    let (bytes, depth) = (words.number::<usize>()?, words.number::<usize>()?);
    if !(512..=BYTES).contains(&bytes) || bytes % 512 != 0 || !(1..=DEPTH).contains(&depth) {
        return Err(Failure::Usage);
    }
    let hz = load::hz()?;
    let until = Until::parse(&mut words, hz)?;
    let mut load = Load::open(device, kind, bytes, depth)?;
    let _warm = load.run(Until::Operations(WARM_UP * depth as u64))?;
    say!("block load");
    let (operations, cycles) = load.run(until)?;
    say!(
        "ok block load={name} bytes={bytes} depth={depth} operations={operations} cycles={cycles} hz={hz}"
    );
    Ok(())
}
