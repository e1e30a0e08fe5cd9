//! A configuration space: bytes, and which of their bits a guest can write or clear.

use thiserror::Error;

use crate::address::InterruptPin;
use crate::bars::{self, BARS, Bar, BarKind, BarSpace, BarWindow, Bars};
use crate::regs::{COMMAND_WRITABLE, Class, Command, STATUS_CLEARABLE, Status, offset};

/// Bytes of the space that conventional PCI has. What PCI Express adds, up to 4 KiB, reads zero: there are no
/// extended capabilities.
pub const SIZE: usize = 256;

/// What cannot stand in a configuration space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A base address register of no size that exists.
    #[error("base address register {index}: {size:#x} is no power of two that its kind can have")]
    BarSize {
        /// Which register.
        index: u8,
        /// Bytes or ports.
        size: u64,
    },
    /// A base address register that does not exist, or is in use.
    #[error("base address register {index} is taken or does not exist")]
    BarIndex {
        /// Which register.
        index: u8,
    },
    /// The capabilities do not fit.
    #[error("no room for {len} bytes of capability {id:#x}")]
    NoRoom {
        /// Its identifier.
        id: u8,
        /// Bytes, with identifier and link.
        len: usize,
    },
    /// A register behind the end.
    #[error("{len} bytes at {offset:#x} leave configuration space")]
    Range {
        /// Its first byte.
        offset: u8,
        /// Bytes.
        len: usize,
    },
    /// Message-signalled interrupts that cannot be.
    #[error("{vectors} vectors in capability {id:#x} are not possible")]
    Vectors {
        /// The capability's identifier.
        id: u8,
        /// Vectors wanted.
        vectors: u16,
    },
    /// A table that does not lie in its base address register.
    #[error("MSI-X table at {table:#x} and pending bits at {pending:#x} do not fit register {bar}")]
    Table {
        /// Which base address register.
        bar: u8,
        /// Offset of the table.
        table: u32,
        /// Offset of the pending bits.
        pending: u32,
    },
}

/// What a function is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Revision ID.
    pub revision: u8,
    /// Class code.
    pub class: Class,
    /// Subsystem vendor ID.
    pub subsystem_vendor: u16,
    /// Subsystem ID.
    pub subsystem: u16,
}

/// What a write to configuration space makes others do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Effects {
    /// The function answers at other addresses than before.
    pub windows: bool,
}

/// The configuration space of a function, header type 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSpace {
    // Configuration.
    pub(crate) bars: Bars,
    /// Where the next capability goes.
    pub(crate) free: u16,
    /// The register that will point to it.
    pub(crate) link: u8,
    /// Bits that a guest can write.
    writable: [u8; SIZE],
    /// Bits that a guest clears by writing 1; the function sets them.
    clearable: [u8; SIZE],
    /// Other bits that the function itself changes.
    hardware: [u8; SIZE],
    /// What the registers hold after a reset.
    reset: [u8; SIZE],
    // Guest-visible state.
    registers: [u8; SIZE],
}

impl ConfigSpace {
    /// A space without base address registers, interrupt and capabilities.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        let Identity {
            vendor,
            device,
            revision,
            class,
            subsystem_vendor,
            subsystem,
        } = identity;
        let mut space = Self {
            bars: [None; BARS as usize],
            free: offset::DEVICE_SPECIFIC.into(),
            link: offset::CAPABILITIES,
            writable: [0; SIZE],
            clearable: [0; SIZE],
            hardware: [0; SIZE],
            reset: [0; SIZE],
            registers: [0; SIZE],
        };
        space.fix(offset::VENDOR_ID, &vendor.to_le_bytes());
        space.fix(offset::DEVICE_ID, &device.to_le_bytes());
        let class = [revision, class.interface, class.sub, class.base];
        space.fix(offset::REVISION_ID, &class);
        space.fix(offset::SUBSYSTEM_VENDOR_ID, &subsystem_vendor.to_le_bytes());
        space.fix(offset::SUBSYSTEM_ID, &subsystem.to_le_bytes());
        let command = COMMAND_WRITABLE.into_bits().to_le_bytes();
        put(&mut space.writable, offset::COMMAND, &command);
        let status = STATUS_CLEARABLE.into_bits().to_le_bytes();
        put(&mut space.clearable, offset::STATUS, &status);
        // Cache line size, latency timer and interrupt line are scratch registers here.
        put(&mut space.writable, offset::CACHE_LINE_SIZE, &[0xff, 0xff]);
        put(&mut space.writable, offset::INTERRUPT_LINE, &[0xff]);
        space
    }

    /// The function has an interrupt pin.
    #[must_use]
    pub fn with_interrupt_pin(mut self, pin: InterruptPin) -> Self {
        self.fix(offset::INTERRUPT_PIN, &[pin as u8]);
        let interrupt = Status::new().with_interrupt(true).into_bits().to_le_bytes();
        put(&mut self.hardware, offset::STATUS, &interrupt);
        self
    }

    /// Adds base address register `index`, not assigned yet.
    ///
    /// # Errors
    /// When the size is not possible, or the register (with a 64-bit one: the next as well) is not free.
    pub fn add_bar(&mut self, index: u8, bar: Bar) -> Result<(), ConfigError> {
        if !bar.size_is_valid() {
            let size = bar.size;
            return Err(ConfigError::BarSize { index, size });
        }
        let free = |at: u8| at < BARS && self.bar_over(at).is_none();
        let last = index.saturating_add(bar.registers() - 1);
        if !(free(index) && free(last)) {
            return Err(ConfigError::BarIndex { index });
        }
        if let Some(slot) = self.bars.get_mut(usize::from(index)) {
            *slot = Some(bar);
        }
        let (at, len) = (bars::register(index), usize::from(bar.registers()) * 4);
        let part = |bits: u64| bits.to_le_bytes().into_iter().take(len).collect::<Vec<_>>();
        put(&mut self.writable, at, &part(bar.address_bits()));
        self.fix(at, &part(bar.type_bits()));
        Ok(())
    }

    /// Gives the bytes from `offset` on a value, and a mask of the bits that a guest can write: a register of the
    /// function's own, behind the header. A mask that is shorter than the value goes on with zeros.
    ///
    /// # Errors
    /// When they leave configuration space.
    pub fn define(&mut self, offset: u8, value: &[u8], writable: &[u8]) -> Result<(), ConfigError> {
        check_range(offset, value.len().max(writable.len()))?;
        put(&mut self.writable, offset, writable);
        self.fix(offset, value);
        Ok(())
    }

    /// A guest clears the bits of `mask`, from `offset` on, by writing 1; the function [raises](Self::set) them.
    ///
    /// # Errors
    /// When they leave configuration space.
    pub fn define_clearable(&mut self, offset: u8, mask: &[u8]) -> Result<(), ConfigError> {
        check_range(offset, mask.len())?;
        put(&mut self.clearable, offset, mask);
        Ok(())
    }

    /// The function itself [changes](Self::set) the bits of `mask`, from `offset` on; a guest only reads them.
    ///
    /// # Errors
    /// When they leave configuration space.
    pub fn define_hardware(&mut self, offset: u8, mask: &[u8]) -> Result<(), ConfigError> {
        check_range(offset, mask.len())?;
        put(&mut self.hardware, offset, mask);
        Ok(())
    }

    /// Sets (or clears) bits that a guest cannot write; others than those defined as clearable or as the
    /// function's own stay as they are.
    pub fn set(&mut self, offset: u8, bits: &[u8], level: bool) {
        let own = self.clearable.iter().zip(&self.hardware);
        let rest = self.registers.iter_mut().zip(own);
        for ((byte, (clearable, hardware)), bits) in rest.skip(offset.into()).zip(bits) {
            let bits = bits & (clearable | hardware);
            *byte = if level { *byte | bits } else { *byte & !bits };
        }
    }

    /// Fills `data` from the registers at `offset`; behind 256 bytes it reads zero.
    pub fn read(&self, offset: u16, data: &mut [u8]) {
        let mut registers = self.registers.iter().skip(offset.into());
        data.fill_with(|| registers.next().copied().unwrap_or(0));
    }

    /// Takes `data` into the registers at `offset`, as far as they can be written.
    pub fn write(&mut self, offset: u16, data: &[u8]) -> Effects {
        let before = self.windows();
        let masks = self.writable.iter().zip(&self.clearable);
        let rest = self.registers.iter_mut().zip(masks);
        for ((byte, (writable, clearable)), value) in rest.skip(offset.into()).zip(data) {
            *byte = (*byte & !writable | value & writable) & !(value & clearable);
        }
        Effects {
            windows: self.windows() != before,
        }
    }

    /// The bytes at `offset`.
    #[must_use]
    pub fn get<const N: usize>(&self, offset: u8) -> [u8; N] {
        let mut bytes = [0; N];
        self.read(offset.into(), &mut bytes);
        bytes
    }

    /// Command.
    #[must_use]
    pub fn command(&self) -> Command {
        Command::from_bits(u16::from_le_bytes(self.get(offset::COMMAND)))
    }

    /// Status.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::from_bits(u16::from_le_bytes(self.get(offset::STATUS)))
    }

    /// The interrupt pin, where there is one.
    #[must_use]
    pub fn interrupt_pin(&self) -> Option<InterruptPin> {
        let [pin] = self.get(offset::INTERRUPT_PIN);
        InterruptPin::from_register(pin)
    }

    /// Where base address register `index` answers; `None`: nowhere, as it does not exist, is not assigned, or
    /// COMMAND does not let it.
    #[must_use]
    pub fn window(&self, index: u8) -> Option<BarWindow> {
        let bar = (*self.bars.get(usize::from(index))?)?;
        let command = self.command();
        let decodes = match bar.space() {
            BarSpace::Ports => command.io(),
            BarSpace::Memory => command.memory(),
        };
        let bits = match bar.kind {
            BarKind::Io | BarKind::Memory32 => {
                u32::from_le_bytes(self.get(bars::register(index))).into()
            }
            BarKind::Memory64 => u64::from_le_bytes(self.get(bars::register(index))),
        };
        let base = bits & bar.address_bits();
        (decodes && base != 0).then_some(BarWindow {
            space: bar.space(),
            base,
            size: bar.size,
        })
    }

    /// [`window`](Self::window) of each base address register.
    #[must_use]
    pub fn windows(&self) -> [Option<BarWindow>; BARS as usize] {
        let mut index = 0..BARS;
        [(); BARS as usize].map(|()| self.window(index.next()?))
    }

    /// Puts base address register `index` at `base`, now and after each reset: what firmware would have done.
    /// Whether it answers there is COMMAND's.
    pub fn assign_bar(&mut self, index: u8, base: u64) {
        let Some(Some(bar)) = self.bars.get(usize::from(index)) else {
            return;
        };
        let bytes = (base & bar.address_bits() | bar.type_bits()).to_le_bytes();
        let len = usize::from(bar.registers()) * 4;
        self.fix(bars::register(index), bytes.get(..len).unwrap_or_default());
    }

    /// Notes the interrupt line, now and after each reset: what firmware would have done.
    pub fn assign_interrupt_line(&mut self, line: u8) {
        self.fix(offset::INTERRUPT_LINE, &[line]);
    }

    /// What the registers hold after a reset; assigned addresses stay.
    pub fn reset(&mut self) {
        self.registers = self.reset;
    }

    pub(crate) const fn registers(&self) -> &[u8; SIZE] {
        &self.registers
    }

    /// The first of `registers` that differs from this space's in a bit that neither guest nor function changes.
    pub(crate) fn first_foreign(&self, registers: &[u8; SIZE]) -> Option<usize> {
        let changing = self.writable.iter().zip(&self.clearable);
        let changing = changing.zip(&self.hardware).map(|((a, b), c)| a | b | c);
        let pairs = registers.iter().zip(&self.reset);
        pairs
            .zip(changing)
            .position(|((new, own), changing)| (new ^ own) & !changing != 0)
    }

    pub(crate) const fn set_registers(&mut self, registers: [u8; SIZE]) {
        self.registers = registers;
    }

    /// Gives registers a value, now and after each reset.
    pub(crate) fn fix(&mut self, offset: u8, value: &[u8]) {
        put(&mut self.reset, offset, value);
        put(&mut self.registers, offset, value);
    }

    /// The base address register that register `at` belongs to.
    fn bar_over(&self, at: u8) -> Option<Bar> {
        (0..).zip(self.bars).find_map(|(index, bar)| {
            bar.filter(|bar| (index..index + bar.registers()).contains(&at))
        })
    }
}

fn check_range(offset: u8, len: usize) -> Result<(), ConfigError> {
    if usize::from(offset) + len <= SIZE {
        Ok(())
    } else {
        Err(ConfigError::Range { offset, len })
    }
}

fn put(bytes: &mut [u8; SIZE], offset: u8, value: &[u8]) {
    let bytes = bytes.iter_mut().skip(offset.into());
    bytes.zip(value).for_each(|(byte, value)| *byte = *value);
}
