//! 82441FX: host bridge of the 440FX PCIset, which switches the addresses from 0xc0000 to 0xfffff between RAM and bus.
//!
//! Source: Intel, 82441FX PCI and Memory Controller (PMC), order number 290549, chapter 3 (configuration registers).
//!
//! | offset | register | write | reset |
//! |---|---|---|---|
//! | 0x00 | VID, DID, class | - | 8086:1237, 060000, revision 2 |
//! | 0x04 | PCICMD | SERR#, parity; bits 1 and 2 read set | 0x0006 |
//! | 0x06 | PCISTS | error bits are cleared by 1 | 0x0280 |
//! | 0x0d | MLT | bits 7:3 are kept, no effect | 0x00 |
//! | 0x50 to 0x58 | PMCCFG, DETURBO, DBC, AXC, DRT, DRAMC, DRAMT | kept, no effect | 0, DBC 0x80, DRAMC 0x01, DRAMT 0x10 |
//! | 0x59 | PAM0 | bits 5:4: attributes of 0xf0000 to 0xfffff | 0x00 |
//! | 0x5a to 0x5f | PAM1 to PAM6 | bits 1:0 and 5:4: attributes of 16 KiB each, from 0xc0000 on | 0x00 |
//! | 0x60 to 0x67 | DRB | kept, no effect | 0x01 |
//! | 0x68, 0x70, 0x71 | FDHC, MTT, CLT | kept, no effect | 0x00 |
//! | 0x72 | SMRAM | kept; after D_LCK nothing changes but D_CLS | 0x02 |
//! | 0x90, 0x91 | ERRCMD, ERRSTS | kept; cleared by 1, never set | 0x00 |
//!
//! The attributes RE and WE of a segment say who answers reads and writes. They leave the chip as runs of addresses,
//! neighbours merged, when the configuration access has ended; what takes writes alone is carried out by
//! [`ShadowWrites`].
//!
//! **Not modelled**: SMRAM (there is no system management mode: 0xa0000 is the display's, whatever the register says), the
//! memory controller (RAM is where the machine has it, whatever the row boundaries say), the hole at 15 MiB (there is
//! RAM), the turbo and reset control at 0x93 (reads 0; the port is the ISA bridge's). Masters on the bus reach the RAM
//! below the segments at all times.
//!
//! **Differs**: the subsystem registers, which the chip does not have, hold what the board says: SeaBIOS knows a
//! virtual machine by them.
//!
//! **Differs from QEMU's** `i440FX`, where the datasheet (3.2, by register) is on our side:
//! - PCICMD, PCISTS, DBC, DRAMC, DRAMT and DRB have their defaults, and reserved bits of
//!   PCICMD and PAM read as they are; QEMU's registers are zero, and all bits are kept.
//! - WE alone leaves reads to the bus; QEMU opens RAM for both.
//! - C_BASE_SEG is fixed, D_LCK clears D_OPEN and makes all but D_CLS read only; QEMU keeps what is written.
//! - A reset brings PAM and SMRAM back to their defaults; QEMU's stay.
//!
//! **Relied on by**: SeaBIOS 1.16 (PAM, and the subsystem registers).

mod core;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use trivisor_buses::{
    AccessError, Component, Dma, MmioDevice, RestoreError, SavedState, ShadowMap,
};
use trivisor_pci::regs::offset as header;
use trivisor_pci::{Class, ConfigError, ConfigSpace, Effect, Endpoint, Identity, PciFunction};

pub use self::core::{AREA, AREA_SIZE, AttributeMap};
use self::regs::{PAM_WRITABLE, PAM0_WRITABLE, PAMS, Smram, offset};
pub use state::I440fxStateV1;

/// What the board decides about its host bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Subsystem vendor ID and subsystem ID.
    pub subsystem: (u16, u16),
    /// PAM0 to PAM6 after a reset: 0, unless there is no firmware to open the RAM.
    pub pam: [u8; PAMS],
}

/// What [`ShadowWrites`] looks at.
type SharedMap = Arc<Mutex<AttributeMap>>;

/// The bridge, a PCI function.
pub struct I440fx {
    // Wiring.
    shadow: Arc<dyn ShadowMap>,
    // Guest-visible state.
    endpoint: Endpoint,
    // Derived: what was told last.
    map: SharedMap,
    told: Option<AttributeMap>,
}

impl std::fmt::Debug for I440fx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("I440fx")
            .field("pam", &self.pam())
            .finish_non_exhaustive()
    }
}

impl I440fx {
    /// A bridge after reset. `shadow` hears of the attributes when the bridge is first accessed.
    ///
    /// # Errors
    /// Never: its registers fit.
    pub fn new(options: Options, shadow: Arc<dyn ShadowMap>) -> Result<Self, ConfigError> {
        Ok(Self {
            shadow,
            endpoint: Endpoint::new(config_space(options)?),
            map: Arc::default(),
            told: None,
        })
    }

    /// The device that carries out writes to segments whose reads the bus answers: memory slots cannot do both.
    #[must_use]
    pub fn shadow_writes(&self, dma: Arc<dyn Dma>) -> ShadowWrites {
        ShadowWrites {
            map: Arc::clone(&self.map),
            dma,
        }
    }

    fn pam(&self) -> [u8; PAMS] {
        self.endpoint.config().get(offset::PAM)
    }

    /// A locked SMRAM register keeps all but D_CLS.
    fn write_smram(&mut self, value: u8) {
        let [old] = self.endpoint.config().get(offset::SMRAM);
        let old = Smram::from_bits(old);
        let new = Smram::from_bits(value);
        let kept = if old.d_lck() {
            old.with_d_cls(new.d_cls())
        } else if new.d_lck() {
            // Locking closes it.
            new.with_d_open(false)
        } else {
            new
        };
        self.endpoint
            .write_config(offset::SMRAM.into(), &[kept.into_bits()]);
    }
}

fn config_space(options: Options) -> Result<ConfigSpace, ConfigError> {
    let (subsystem_vendor, subsystem) = options.subsystem;
    let mut config = ConfigSpace::new(Identity {
        vendor: 0x8086,
        device: 0x1237,
        revision: 2,
        class: Class {
            base: 0x06,
            sub: 0x00,
            interface: 0x00,
        },
        subsystem_vendor,
        subsystem,
    });
    config.define(header::COMMAND, &[0x06, 0], &[0x40, 0x01])?;
    config.define(header::STATUS, &[0x80, 0x02], &[])?;
    config.define(header::CACHE_LINE_SIZE, &[0, 0], &[0, 0xf8])?;
    config.define(header::INTERRUPT_LINE, &[0], &[0])?;
    let kept: [(u8, &[u8]); 11] = [
        (offset::PMCCFG, &[0, 0]),
        (offset::DETURBO, &[0]),
        (offset::DBC, &[0x80]),
        (offset::AXC, &[0]),
        (offset::DRT, &[0, 0]),
        (offset::DRAMC, &[0x01]),
        (offset::DRAMT, &[0x10]),
        (offset::DRB, &[0x01; 8]),
        (offset::FDHC, &[0]),
        (offset::MTT, &[0, 0]), // and CLT
        (offset::ERRCMD, &[0]),
    ];
    for (at, reset) in kept {
        let all = vec![0xff; reset.len()];
        config.define(at, reset, &all)?;
    }
    let mut writable = [PAM_WRITABLE; PAMS];
    let [pam0, ..] = &mut writable;
    *pam0 = PAM0_WRITABLE;
    config.define(offset::PAM, &options.pam, &writable)?;
    // C_BASE_SEG is fixed.
    config.define(offset::SMRAM, &[Smram::new().into_bits()], &[0x78])?;
    config.define_clearable(offset::ERRSTS, &[0x11])?;
    Ok(config)
}

impl PciFunction for I440fx {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn endpoint_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    fn config_write(&mut self, at: u16, data: &[u8]) {
        for (at, byte) in (at..).zip(data) {
            if at == u16::from(offset::SMRAM) {
                self.write_smram(*byte);
            } else {
                self.endpoint.write_config(at, &[*byte]);
            }
        }
    }

    fn take_effect(&mut self) -> Option<Effect> {
        let map = AttributeMap::new(self.pam());
        if self.told.replace(map) == Some(map) {
            return None;
        }
        let (shadow, shared) = (Arc::clone(&self.shadow), Arc::clone(&self.map));
        Some(Box::new(move || {
            *shared.lock().unwrap_or_else(PoisonError::into_inner) = map;
            shadow.set_shadow(&map.runs());
        }))
    }
}

impl Component for I440fx {
    fn reset(&mut self) {
        self.endpoint.reset();
    }

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &self.endpoint.save())
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let state: I440fxStateV1 = state.decode(state::KIND, state::VERSION)?;
        self.endpoint.restore(state::KIND, &state)
    }
}

/// What answers from [`AREA`] on where no memory slot does: nobody, but that writes to a segment with WE reach RAM.
pub struct ShadowWrites {
    map: SharedMap,
    dma: Arc<dyn Dma>,
}

impl std::fmt::Debug for ShadowWrites {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShadowWrites")
            .field("map", &self.map)
            .finish_non_exhaustive()
    }
}

impl MmioDevice for ShadowWrites {
    fn read(&mut self, _offset: u64, _data: &mut [u8]) -> Result<(), AccessError> {
        Err(AccessError::NoRegister)
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), AccessError> {
        let attributes = {
            let map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
            map.at(offset)
        };
        if !attributes.we() {
            return Err(AccessError::ReadOnly);
        }
        let written = self.dma.write(AREA + offset, data);
        written.map_err(|_| AccessError::NoRegister)
    }
}

/// It has no state of its own.
impl Component for ShadowWrites {
    fn reset(&mut self) {}

    fn save(&self) -> SavedState {
        SavedState::encode("i440fx-shadow", 1, &())
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        state.decode("i440fx-shadow", 1)
    }
}
