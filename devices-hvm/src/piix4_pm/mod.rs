//! 82371AB (PIIX4), function 3: ACPI power management, with the APM ports and a block of general purpose events.
//!
//! Source: Intel, 82371AB PCI-to-ISA / IDE Xcelerator (PIIX4), order number 290562, 7.1 (configuration registers),
//! 7.2 (ports from PMBA on), 4.2.7 (APM ports); ACPI 6.5, 4.8.
//!
//! | configuration | register | write | reset |
//! |---|---|---|---|
//! | 0x00 | VID, DID, class | - | 8086:7113, 068000, revision 3 |
//! | 0x04, 0x06 | PCICMD, PCISTS | bit 0; error bits are cleared by 1 | 0x0000, 0x0280 |
//! | 0x3c, 0x3d | interrupt line, pin | kept; A | 0x00, 0x01 |
//! | 0x40 | PMBA | bits 15:6 | 0x00000001 |
//! | 0x44 to 0x7f | counts, device activity and resources | kept, no effect; bit 25 of DEVACTB (0x58) reads set | 0 |
//! | 0x80 | PMREGMISC | bit 0 PMIOSE | 0x00 |
//! | 0x90, 0xd2 | SMBBA, SMBHSTCFG and what follows | kept, no effect | 0x00000001, 0 |
//!
//! | port from PMBA on | register | read | write | reset |
//! |---|---|---|---|---|
//! | 0x00 | PMSTS | timer overflow, power button | cleared by 1 | 0x0000 |
//! | 0x02 | PMEN | as written | bits 0, 5, 8, 10 | 0x0000 |
//! | 0x04 | PMCNTRL | without SUS_EN | SUS_EN: soft off powers off, other states are refused | 0x0000 |
//! | 0x08 | PMTMR | 24 bits at 3.579545 MHz | no effect | - |
//! | 0x0c, 0x18, 0x1c, 0x30 | GPSTS, GLBSTS, DEVSTS, GPIREG | 0 | no effect | 0 |
//! | 0x0e, 0x10, 0x20, 0x28, 0x2c | GPEN, PCNTRL, GLBEN, GLBCTL, DEVCTL | as written | kept, no effect | 0 |
//! | 0x14 | PLVL2, PLVL3 | 0 | no effect | - |
//! | 0x34 | GPOREG | as written | kept, no effect | 0x7ffffbff |
//!
//! | port | register | |
//! |---|---|---|
//! | 0xb2 | APMC | kept; 0xf1 sets SCI_EN, 0xf0 clears it: what the BIOS's handler of the SMI would do |
//! | 0xb3 | APMS | kept |
//! | GPE0 | status, enable, 16 bits each | no event exists; enable is kept. A virtual machine's own, not the chip's |
//!
//! The SCI is ISA interrupt 9, level-triggered: high while SCI_EN and a bit of PMSTS with its bit of PMEN are set. An
//! overflow of PMTMR, each change of its bit 23 (every 2.34 s), is noted when the registers are next accessed, but with
//! SCI_EN and TMROF_EN at its time: a timer is armed for it then alone.
//!
//! **Not modelled**: system management mode; so APMC_EN reads set, which tells SeaBIOS that its handler needs no
//! installation. SMBus: nothing answers at SMBBA. Sleep states but S5: SUS_EN is refused. Processor sleep states: a read
//! of PLVL2 or PLVL3 is over at once. The clock's alarm: RTC_STS is never set, and the FADT says so.
//!
//! QEMU's differs in what is told with each step of `tests/tests/qtest/pm.txt`: it keeps reserved bits (7.1, 7.2), lacks
//! the registers from 0x0c on, begins with TMROF_STS set, and presets what firmware would.
//!
//! **Relied on by**: SeaBIOS 1.16 (PMBA, PMTMR), GRUB 2.06 (`halt`), Linux 6.1 (ACPI core, PM timer, button, poweroff).

mod core;
mod ports;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use trivisor_buses::{Component, RestoreError, SavedState};
use trivisor_pci::regs::offset as header;
use trivisor_pci::{
    Class, ConfigError, ConfigSpace, Effect, Endpoint, Identity, InterruptPin, PciFunction,
};

pub use self::core::PmRegisters;
pub use self::ports::{APM_PORTS, Apm, FrontButton, GPE_PORTS, Gpe0, PM_PORTS, PmBlock, WIDTHS};
use self::regs::{APMC_EN, PMBA_BASE, Pmregmisc, SMBBA_BASE, offset};
pub use state::{ApmStateV1, GpeStateV1, Piix4PmStateV1, PmBlockStateV1};

/// Puts the block's ports where the function says; `None`: nowhere. Called when a configuration access has ended.
pub type PlacePorts = dyn Fn(Option<u16>) + Send + Sync;

/// The function in configuration space.
pub struct Piix4Pm {
    // Wiring.
    place: std::sync::Arc<PlacePorts>,
    // Guest-visible state.
    endpoint: Endpoint,
    // Derived: what was told last.
    told: Option<u16>,
}

impl std::fmt::Debug for Piix4Pm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Piix4Pm")
            .field("base", &self.base())
            .finish_non_exhaustive()
    }
}

impl Piix4Pm {
    /// A function after reset. `place` is called when the ports of the [`PmBlock`] move; they answer nowhere yet.
    ///
    /// # Errors
    /// Never: its registers fit.
    pub fn new(place: std::sync::Arc<PlacePorts>) -> Result<Self, ConfigError> {
        Ok(Self {
            place,
            endpoint: Endpoint::new(config_space()?),
            told: None,
        })
    }

    /// Puts the ports at `base`, now and after each reset: what firmware would have done.
    ///
    /// # Errors
    /// Never: the registers exist.
    pub fn assign_base(&mut self, base: u16) -> Result<(), ConfigError> {
        let config = self.endpoint.config_mut();
        let base = (u32::from(base) & PMBA_BASE) | 1;
        config.define(offset::PMBA, &base.to_le_bytes(), &PMBA_BASE.to_le_bytes())?;
        config.define(offset::PMREGMISC, &[1], &[1])
    }

    /// Where the ports answer.
    fn base(&self) -> Option<u16> {
        let config = self.endpoint.config();
        let [misc] = config.get(offset::PMREGMISC);
        let base = u32::from_le_bytes(config.get(offset::PMBA)) & PMBA_BASE;
        let base = u16::try_from(base).ok().filter(|base| *base != 0);
        base.filter(|_| Pmregmisc::from_bits(misc).pmiose())
    }
}

fn config_space() -> Result<ConfigSpace, ConfigError> {
    let config = ConfigSpace::new(Identity {
        vendor: 0x8086,
        device: 0x7113,
        revision: 3,
        class: Class {
            base: 0x06,
            sub: 0x80,
            interface: 0x00,
        },
        subsystem_vendor: 0,
        subsystem: 0,
    });
    let mut config = config.with_interrupt_pin(InterruptPin::A);
    config.define(header::COMMAND, &[0, 0], &[0x01, 0x00])?;
    config.define(header::STATUS, &[0x80, 0x02], &[])?;
    config.define(header::CACHE_LINE_SIZE, &[0, 0], &[0, 0])?;
    config.define(offset::PMBA, &[1, 0, 0, 0], &PMBA_BASE.to_le_bytes())?;
    let kept = usize::from(offset::DEVRESJ + 4 - offset::CNTA);
    config.define(offset::CNTA, &vec![0; kept], &vec![0xff; kept])?;
    config.define(
        offset::DEVACTB,
        &[0, 0, 0, APMC_EN],
        &[0xff, 0xff, 0xff, !APMC_EN],
    )?;
    config.define(offset::PMREGMISC, &[0], &[1])?;
    config.define(offset::SMBBA, &[1, 0, 0, 0], &SMBBA_BASE.to_le_bytes())?;
    config.define(offset::SMBHSTCFG, &[0; 4], &[0x0f, 0xff, 0xff, 0xff])?;
    Ok(config)
}

impl PciFunction for Piix4Pm {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn endpoint_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    fn take_effect(&mut self) -> Option<Effect> {
        let base = self.base();
        if self.told == base {
            return None;
        }
        self.told = base;
        let place = self.place.clone();
        Some(Box::new(move || place(base)))
    }
}

impl Component for Piix4Pm {
    fn reset(&mut self) {
        self.endpoint.reset();
    }

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &self.endpoint.save())
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let state: Piix4PmStateV1 = state.decode(state::KIND, state::VERSION)?;
        self.endpoint.restore(state::KIND, &state)
    }
}
