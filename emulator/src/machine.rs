//! What the emulator asks of a VMM.

use std::io;

use crate::registers::{Changed, Registers};
use crate::xsave_area::XsaveArea;

/// Why memory is touched, so that the implementer checks the right permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessKind {
    /// Instruction fetch.
    Fetch,
    /// Data read.
    Read,
    /// Data read whose place will be written: a fault is one of writing.
    Modify,
    /// Data write.
    Write,
}

/// A kind of access with the privilege that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// What is done.
    pub kind: AccessKind,
    /// Done in ring 3. Descriptor tables are read with `false` in every ring.
    pub user: bool,
}

/// Why memory could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The guest's own page tables forbid it: the guest gets #PF.
    #[error("page fault at {address:#x}, error code {error_code:#x}")]
    PageFault {
        /// Linear address of the first byte that failed, for CR2.
        address: u64,
        /// Error code as the CPU would push it (Intel SDM volume 3, 4.7).
        error_code: u32,
    },
    /// The host failed.
    #[error(transparent)]
    Host(#[from] io::Error),
}

/// A virtual CPU and what it can reach.
///
/// Addresses of memory are linear. The implementer translates them, page by page (an access may cross a page or two),
/// and routes each part to RAM or to a device: MMIO takes no other way than [`read`](Self::read) and
/// [`write`](Self::write). An access is at most 4,096 bytes, most are 1 to 32.
///
/// Only the first five methods are needed for integer code; the others answer "unsupported" until they are overridden,
/// which [`step`](crate::step) hands on as an error.
pub trait Machine {
    /// Gives all registers. Called once a step.
    ///
    /// # Errors
    /// The host's.
    fn registers(&mut self) -> io::Result<Registers>;

    /// Takes the registers back when the instruction is complete (or a repeated one has advanced).
    ///
    /// # Errors
    /// The host's.
    fn set_registers(&mut self, registers: &Registers, changed: Changed) -> io::Result<()>;

    /// Reads linear memory.
    ///
    /// # Errors
    /// [`AccessError::PageFault`] if any byte is out of reach; then no device was read.
    fn read(&mut self, address: u64, data: &mut [u8], access: Access) -> Result<(), AccessError>;

    /// Writes linear memory, all of it or, with an error, nothing.
    ///
    /// # Errors
    /// [`AccessError::PageFault`] if any byte is out of reach.
    fn write(&mut self, address: u64, data: &[u8], access: Access) -> Result<(), AccessError>;

    /// Writes `new` if memory still holds `old` (1 to 16 bytes, both of one length) and tells whether it did.
    ///
    /// RAM needs one atomic operation where other virtual CPUs run; a device is just written.
    ///
    /// # Errors
    /// [`AccessError::PageFault`] if any byte is out of reach.
    fn compare_exchange(
        &mut self,
        address: u64,
        old: &[u8],
        new: &[u8],
        access: Access,
    ) -> Result<bool, AccessError>;

    /// Fills in x87 and vector state. Called at most once a step, and only for instructions that touch it.
    ///
    /// # Errors
    /// The host's.
    fn vectors(&mut self, _area: &mut XsaveArea) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Takes x87 and vector state back.
    ///
    /// # Errors
    /// The host's.
    fn set_vectors(&mut self, _area: &XsaveArea) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Reads a port: 1, 2 or 4 bytes.
    ///
    /// # Errors
    /// The host's.
    fn port_in(&mut self, _port: u16, _data: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Writes a port: 1, 2 or 4 bytes.
    ///
    /// # Errors
    /// The host's.
    fn port_out(&mut self, _port: u16, _data: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Reads a model-specific register: 0x10 (TSC), 0xda0 (XSS), 0xc0000081 (STAR), 0xc0000103 (TSC_AUX).
    ///
    /// # Errors
    /// The host's.
    fn msr(&mut self, _index: u32) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Reads XCR0.
    ///
    /// # Errors
    /// The host's.
    fn xcr0(&mut self) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Writes XCR0; `value` has passed the checks of the architecture.
    ///
    /// # Errors
    /// The host's.
    fn set_xcr0(&mut self, _value: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Gives EAX, EBX, ECX, EDX of the guest's CPUID. Only leaf 13, the layout of XSAVE, is asked for.
    /// Zeroes stand for a CPU with x87, SSE and AVX state alone.
    fn cpuid(&mut self, _leaf: u32, _subleaf: u32) -> [u32; 4] {
        [0; 4]
    }
}
