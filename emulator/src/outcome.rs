//! How a step ends.

use std::{fmt, io};

use crate::machine::AccessError;

/// A step that the emulator could make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an event that is not injected is lost to the guest"]
pub enum Outcome {
    /// The instruction is complete, or a long one has advanced: run the guest.
    Done,
    /// Inject this event, then run the guest.
    Inject(Event),
}

/// An exception or a software interrupt for the guest.
///
/// Registers are as the event's handler must find them in its frame: RIP at the instruction for a fault, behind it for
/// a trap (#BP, #DB, INT n).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Interrupt vector.
    pub vector: u8,
    /// What the CPU pushes as error code.
    pub error_code: Option<u32>,
    /// CR2 for #PF, the new bits of DR6 for #DB.
    pub payload: Option<u64>,
    /// INT n, a software interrupt (the gate's privilege has been checked), and not an exception.
    pub software: bool,
}

/// Vectors of exceptions (Intel SDM volume 3, table 6-1).
pub(crate) mod vector {
    pub(crate) const DE: u8 = 0;
    pub(crate) const DB: u8 = 1;
    pub(crate) const BP: u8 = 3;
    pub(crate) const OF: u8 = 4;
    pub(crate) const UD: u8 = 6;
    pub(crate) const NM: u8 = 7;
    pub(crate) const NP: u8 = 11;
    pub(crate) const SS: u8 = 12;
    pub(crate) const GP: u8 = 13;
    pub(crate) const PF: u8 = 14;
    pub(crate) const MF: u8 = 16;
}

/// A step that could not be made; the registers are untouched.
#[derive(Debug, thiserror::Error)]
pub enum EmulateError {
    /// The emulator lacks this instruction, or this use of it.
    #[error("instruction {bytes} at {rip:#x} is not supported")]
    Unsupported {
        /// RIP of the instruction.
        rip: u64,
        /// Its encoding.
        bytes: InstructionBytes,
    },
    /// The machine failed.
    #[error("the machine failed under the emulator")]
    Host(#[from] io::Error),
}

/// The encoding of one instruction, 1 to 15 bytes, shown in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InstructionBytes {
    pub(crate) bytes: [u8; 15],
    pub(crate) len: usize,
}

impl InstructionBytes {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

impl fmt::Display for InstructionBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, byte) in self.as_slice().iter().enumerate() {
            let space = if n == 0 { "" } else { " " };
            write!(f, "{space}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for InstructionBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why an instruction stops short, inside the crate.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The guest gets an event; registers stay.
    Event(Event),
    /// The guest gets an event after the registers are committed.
    Trap(Event),
    /// Another CPU changed the operand of a locked instruction: do it again.
    Retry,
    /// Not implemented.
    Unsupported,
    /// The machine failed.
    Host(io::Error),
}

impl Fault {
    const fn exception(vector: u8, error_code: Option<u32>) -> Self {
        Self::Event(Event {
            vector,
            error_code,
            payload: None,
            software: false,
        })
    }

    /// #UD.
    pub(crate) const UD: Self = Self::exception(vector::UD, None);
    /// #NM.
    pub(crate) const NM: Self = Self::exception(vector::NM, None);
    /// #MF.
    pub(crate) const MF: Self = Self::exception(vector::MF, None);
    /// #DE.
    pub(crate) const DE: Self = Self::exception(vector::DE, None);
    /// #GP(0).
    pub(crate) const GP0: Self = Self::gp(0);
    /// #SS(0).
    pub(crate) const SS0: Self = Self::exception(vector::SS, Some(0));

    /// #GP with an error code.
    pub(crate) const fn gp(code: u32) -> Self {
        Self::exception(vector::GP, Some(code))
    }

    /// #NP with an error code.
    pub(crate) const fn np(code: u32) -> Self {
        Self::exception(vector::NP, Some(code))
    }

    /// #SS with an error code.
    pub(crate) const fn ss(code: u32) -> Self {
        Self::exception(vector::SS, Some(code))
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}

impl From<AccessError> for Fault {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::PageFault {
                address,
                error_code,
            } => Self::Event(Event {
                vector: vector::PF,
                error_code: Some(error_code),
                payload: Some(address),
                software: false,
            }),
            AccessError::Host(error) => Self::Host(error),
        }
    }
}
