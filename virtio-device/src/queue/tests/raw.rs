//! A ring whose memory a test writes as it likes.

use trivisor_memory::GuestRam;

use crate::queue::{Area, Chain, Queue, QueueError};
use crate::testing::{Ring, test_ram};

pub(super) const NEXT: u16 = 1;
pub(super) const WRITE: u16 = 2;
pub(super) const INDIRECT: u16 = 4;

/// Where the areas and a table lie.
pub(super) const AREAS: [u64; 3] = [0x1_0000, 0x1_1000, 0x1_2000];
pub(super) const TABLE: u64 = 0x1_3000;
pub(super) const SIZE: u16 = 8;

/// A descriptor of either ring. On a packed one `next` is where it would go on anyway.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) address: u64,
    pub(super) len: u32,
    pub(super) flags: u16,
    pub(super) next: u16,
}

pub(super) const fn entry(address: u64, len: u32, flags: u16, next: u16) -> Entry {
    Entry {
        address,
        len,
        flags,
        next,
    }
}

#[derive(Debug)]
pub(super) struct Raw {
    pub(super) ram: GuestRam,
    pub(super) queue: Queue,
    pub(super) ring: Ring,
}

impl Raw {
    pub(super) fn new(ring: Ring, features: u64) -> Self {
        let ram = test_ram();
        let mut queue = Queue::new(SIZE);
        for (area, address) in Area::ALL.into_iter().zip(AREAS) {
            queue.set_address(area, address);
        }
        queue.enable(&ram, features | ring.feature()).unwrap();
        Self { ram, queue, ring }
    }

    pub(super) fn write(&self, address: u64, bytes: &[u8]) {
        assert!(self.ram.write(address, bytes));
    }

    pub(super) fn write_u16(&self, address: u64, value: u16) {
        self.write(address, &value.to_le_bytes());
    }

    pub(super) fn read_u16(&self, address: u64) -> u16 {
        let mut bytes = [0; 2];
        assert!(self.ram.read(address, &mut bytes));
        u16::from_le_bytes(bytes)
    }

    fn entry(&self, address: u64, entry: &Entry, packed: u16) {
        let Entry {
            address: buffer,
            len,
            flags,
            next,
        } = *entry;
        self.write(address, &buffer.to_le_bytes());
        self.write(address + 8, &len.to_le_bytes());
        match self.ring {
            Ring::Split => {
                self.write_u16(address + 12, flags);
                self.write_u16(address + 14, next);
            }
            Ring::Packed => {
                self.write_u16(address + 12, 5);
                self.write_u16(address + 14, flags | packed);
            }
        }
    }

    /// Fills the ring's descriptors from the first on; on a packed ring all of them available on the first lap.
    pub(super) fn descriptors(&self, entries: &[Entry]) {
        for (at, entry) in (0..).zip(entries) {
            self.entry(AREAS[0] + 16 * at, entry, 1 << 7);
        }
    }

    /// Fills the table.
    pub(super) fn table(&self, entries: &[Entry]) {
        for (at, entry) in (0..).zip(entries) {
            self.entry(TABLE + 16 * at, entry, 0);
        }
    }

    /// Makes `heads` available in a split ring; in a packed one descriptors are as soon as they are written.
    pub(super) fn offer(&self, heads: &[u16]) {
        if self.ring == Ring::Split {
            for (at, head) in (0..).zip(heads) {
                self.write_u16(AREAS[1] + 4 + 2 * at, *head);
            }
            self.write_u16(AREAS[1] + 2, u16::try_from(heads.len()).unwrap());
        }
    }

    pub(super) fn pop(&mut self) -> Result<bool, QueueError> {
        self.queue.pop(&self.ram, &mut Chain::default())
    }

    /// A descriptor, made available and popped.
    pub(super) fn pop_one(&mut self) -> u16 {
        self.descriptors(&[entry(0x5000, 8, 0, 0)]);
        self.offer(&[0]);
        let mut chain = Chain::default();
        assert_eq!(self.queue.pop(&self.ram, &mut chain), Ok(true));
        chain.id()
    }
}
