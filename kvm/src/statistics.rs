//! KVM's own counters of a vCPU: exits, emulated instructions and the like.
//!
//! Source: Documentation/virt/kvm/api.rst, 4.133 (KVM_GET_STATS_FD).

#![expect(unsafe_code, reason = "kvm-ioctls lacks the ioctl")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

use kvm_ioctls::VcpuFd;

/// `_IO(KVMIO, 0xce)`.
const KVM_GET_STATS_FD: libc::Ioctl = 0xaece;

/// Bytes of the header in front of everything.
const HEADER: usize = 24;

/// Bytes of a descriptor without its name.
const DESCRIPTOR: usize = 16;

/// More counters than KVM has, so that a broken answer cannot make us read for ever.
const MAX_COUNTERS: u32 = 1024;

/// Longer than any name (KVM_STATS_NAME_SIZE is 48).
const MAX_NAME: u32 = 256;

/// Some of KVM's counters. They are deterministic where times are not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Exits from the guest, whoever dealt with them.
    pub exits: u64,
    /// Instructions that KVM's emulator executed.
    pub emulated_instructions: u64,
    /// Exits to user space for ports.
    pub io_exits: u64,
    /// Exits to user space for memory-mapped devices.
    pub mmio_exits: u64,
    /// HLT exits.
    pub halt_exits: u64,
    /// Injected interrupts.
    pub interrupts: u64,
}

impl std::ops::AddAssign for Statistics {
    fn add_assign(&mut self, other: Self) {
        self.exits += other.exits;
        self.emulated_instructions += other.emulated_instructions;
        self.io_exits += other.io_exits;
        self.mmio_exits += other.mmio_exits;
        self.halt_exits += other.halt_exits;
        self.interrupts += other.interrupts;
    }
}

/// The counters of one vCPU. They can be read from any thread while it runs.
#[derive(Debug)]
pub struct StatisticsFile(File);

impl StatisticsFile {
    pub(crate) fn new(vcpu: &VcpuFd) -> io::Result<Self> {
        // SAFETY: an ioctl without argument on a vCPU's descriptor; it returns a new descriptor or -1.
        let fd = unsafe { libc::ioctl(vcpu.as_raw_fd(), KVM_GET_STATS_FD) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, so ours alone.
        let file = unsafe { File::from_raw_fd(fd) };
        Ok(Self(file))
    }

    /// Reads the counters; one that this KVM lacks is 0.
    ///
    /// # Errors
    /// What the host said, or `InvalidData` when the answer makes no sense.
    pub fn read(&self) -> io::Result<Statistics> {
        let mut header = [0; HEADER];
        self.0.read_exact_at(&mut header, 0)?;
        // flags, name_size, num_desc, id_offset, desc_offset, data_offset
        let [_, name_size, count, _, descriptors, values] =
            words(&header).ok_or(io::ErrorKind::InvalidData)?;
        if count > MAX_COUNTERS || name_size > MAX_NAME {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let step = DESCRIPTOR + name_size as usize;
        let mut table = vec![0; step * count as usize];
        self.0.read_exact_at(&mut table, descriptors.into())?;
        let mut statistics = Statistics::default();
        for descriptor in table.chunks(step) {
            let (numbers, name) = descriptor.split_at(DESCRIPTOR);
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            let Some(counter) = statistics.counter(name) else {
                continue;
            };
            // flags, exponent and size, offset, bucket_size
            let [_, _, offset, _] = words(numbers).ok_or(io::ErrorKind::InvalidData)?;
            let mut value = [0; 8];
            self.0
                .read_exact_at(&mut value, u64::from(values) + u64::from(offset))?;
            *counter = u64::from_ne_bytes(value);
        }
        Ok(statistics)
    }
}

impl Statistics {
    fn counter(&mut self, name: &[u8]) -> Option<&mut u64> {
        match name {
            b"exits" => Some(&mut self.exits),
            b"insn_emulation" => Some(&mut self.emulated_instructions),
            b"io_exits" => Some(&mut self.io_exits),
            b"mmio_exits" => Some(&mut self.mmio_exits),
            b"halt_exits" => Some(&mut self.halt_exits),
            b"irq_injections" => Some(&mut self.interrupts),
            _ => None,
        }
    }
}

fn words<const N: usize>(bytes: &[u8]) -> Option<[u32; N]> {
    let words: Vec<u32> = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|word| u32::from_ne_bytes(*word))
        .collect();
    words.get(..N)?.try_into().ok()
}
