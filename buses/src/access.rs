//! What a device on a port or MMIO bus is: an offset and a buffer in, a bare reason out.
//!
//! A device does not know its base address, its neighbours or its lock; the [`Shell`](crate::Shell)
//! around it does.

use thiserror::Error;

/// Why a device refused an access. The bus adds device, address and width, counts it, and lets
/// reads return all ones: a guest's mistake is never an error of the VMM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AccessError {
    /// Nothing stands at this offset.
    #[error("no register at this offset")]
    NoRegister,
    /// The register cannot be accessed with this number of bytes.
    #[error("width not allowed here")]
    Width,
    /// The register cannot be written.
    #[error("register is read-only")]
    ReadOnly,
    /// The register cannot be read.
    #[error("register is write-only")]
    WriteOnly,
    /// The value means nothing to the device in its present state.
    #[error("value not valid here")]
    Value,
}

/// A device in port space. `offset` counts from the base that the bus gave it.
pub trait PortDevice: Send {
    /// Fills `data` (1, 2 or 4 bytes, little-endian) from the register at `offset`.
    ///
    /// # Errors
    /// The reason for which the guest gets all ones instead.
    fn read(&mut self, offset: u16, data: &mut [u8]) -> Result<(), AccessError>;

    /// Takes `data` (1, 2 or 4 bytes, little-endian) into the register at `offset`.
    ///
    /// # Errors
    /// The reason for which the write has no effect.
    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError>;

    /// Fills `data` as that many reads of `width` bytes from the register at `offset` do: `rep ins`. A device whose data
    /// goes through a port serves it at once.
    ///
    /// # Errors
    /// As [`read`](Self::read); what was read before is lost.
    fn read_string(
        &mut self,
        offset: u16,
        width: usize,
        data: &mut [u8],
    ) -> Result<(), AccessError> {
        let mut elements = data.chunks_mut(width.max(1));
        elements.try_for_each(|element| self.read(offset, element))
    }

    /// Takes `data` as that many writes of `width` bytes to the register at `offset` do: `rep outs`.
    ///
    /// # Errors
    /// As [`write`](Self::write); what comes behind has no effect.
    fn write_string(&mut self, offset: u16, width: usize, data: &[u8]) -> Result<(), AccessError> {
        let mut elements = data.chunks(width.max(1));
        elements.try_for_each(|element| self.write(offset, element))
    }
}

/// A device in memory space. `offset` counts from the base that the bus gave it.
pub trait MmioDevice: Send {
    /// Fills `data` (1, 2, 4 or 8 bytes, little-endian) from the register at `offset`.
    ///
    /// # Errors
    /// The reason for which the guest gets all ones instead.
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), AccessError>;

    /// Takes `data` (1, 2, 4 or 8 bytes, little-endian) into the register at `offset`.
    ///
    /// # Errors
    /// The reason for which the write has no effect.
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), AccessError>;
}

/// What becomes of an access whose width a device does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// One access a byte, lowest address first, as an ISA bus does.
    Split,
    /// Reads return ones, writes vanish; both are counted.
    Reject,
}

/// The access widths that a range takes, checked once, in front of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Widths {
    allowed: u8,
    unfit: Unfit,
}

impl Widths {
    /// Byte registers on an 8-bit bus: wider accesses are split.
    pub const BYTES: Self = Self::new(&[1], Unfit::Split);
    /// 32-bit registers only.
    pub const DWORDS: Self = Self::new(&[4], Unfit::Reject);
    /// Whatever comes.
    pub const ANY: Self = Self::new(&[1, 2, 4, 8], Unfit::Split);

    /// Takes the widths listed, in bytes; the rest is dealt with as `unfit` says.
    #[must_use]
    pub const fn new(widths: &[u8], unfit: Unfit) -> Self {
        let mut allowed = 0;
        let mut rest = widths;
        while let [width, tail @ ..] = rest {
            allowed |= *width;
            rest = tail;
        }
        Self { allowed, unfit }
    }

    /// `None`: hand the access over as it is.
    pub(crate) fn unfit(self, len: usize) -> Option<Unfit> {
        let fits = matches!(len, 1 | 2 | 4 | 8) && usize::from(self.allowed) & len != 0;
        (!fits).then_some(self.unfit)
    }
}
