//! 82371SB (PIIX3), function 0: PCI-to-ISA bridge, which leads PCI's interrupts to ISA's and has the reset control.
//!
//! Source: Intel, 82371FB (PIIX) and 82371SB (PIIX3) PCI ISA IDE Xcelerator, order number 290550, 2.2 (configuration
//! registers of function 0) and 2.5 (ISA-compatible registers).
//!
//! | offset | register | write | reset |
//! |---|---|---|---|
//! | 0x00 | VID, DID, class | - | 8086:7000, 060100 |
//! | 0x04 | PCICMD | SERR#, special cycle; bits 0 to 2 read set | 0x0007 |
//! | 0x06 | PCISTS | error bits are cleared by 1 | 0x0200 |
//! | 0x4c, 0x4e, 0x69 | IORT, XBCS, TOM | kept, no effect | 0x4d, 0x0003, 0x02 |
//! | 0x60 to 0x63 | PIRQRCA to PIRQRCD | bits 3:0 ISA interrupt, bit 7 none | 0x80 |
//! | 0x6a | MSTAT | kept, no effect | 0x0000 |
//! | 0x70, 0x76, 0x78 | MBIRQ0, MBDMA, PCSC | kept, no effect | 0x80, 0x0c 0x0c, 0x0002 |
//! | 0x80, 0x82 | APICBASE, DLC | kept, no effect | 0x00 |
//! | 0xa0 to 0xae | SMICNTL, SMIEN, SEE, FTMR, SMIREQ, CTLTMR, CTHTMR | kept, no effect | 0, SMICNTL 0x08, FTMR 0x0f |
//! | port 0xcf9 | RC | bit 2 from 0 to 1 resets the machine; bit 1 is kept | 0x00 |
//!
//! A PIRQ whose route is none of the ISA interrupts 3 to 7, 9 to 12, 14 and 15 leads nowhere. Two lines on one
//! interrupt are ORed.
//!
//! **Not modelled**: the chip's 8259s with their ELCR, 8254, 8237s and port 0x61, which are chips of their own here;
//! a reset of the CPU alone (SRST clear), which resets the machine; SMI and power management, which never come; chip
//! selects: ROM, RTC and keyboard controller answer whatever XBCS says.
//!
//! **Differs from QEMU's** `PIIX3`, where the datasheet (2.2) is on our side: PCICMD reads 0x0007, for access and
//! mastership cannot be switched off, and the reserved bits of PIRQRCA to PIRQRCD read 0; QEMU keeps all bits.
//!
//! **Relied on by**: SeaBIOS 1.16 (PIRQ routes, reset by 0xcf9).

mod core;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use trivisor_buses::{
    AccessError, Component, EventSink, Line, LineEnd, MachineEvent, PortDevice, RestoreError,
    SavedState, Wire,
};
use trivisor_pci::regs::offset as header;
use trivisor_pci::{Class, ConfigError, ConfigSpace, Endpoint, Identity, PciFunction};

pub use self::core::{PIRQS, Pirqs};
use self::regs::{PIRQ_WRITABLE, PirqRoute, ResetControl, offset};
pub use state::Piix3StateV1;

/// Offset of the reset control in the four ports from 0xcf8 on.
const RC: u16 = 1;

/// What leads PCI's four interrupt lines to ISA interrupts. Its lock is an interrupt controller's: devices drive their
/// lines with their own locks held.
struct Router {
    inner: Mutex<(Pirqs, [Line; 16])>,
}

impl Router {
    fn change(&self, change: impl FnOnce(&mut Pirqs), set: impl Fn(&mut Line, bool)) {
        let (pirqs, lines) = &mut *self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        change(pirqs);
        let isa = pirqs.isa();
        for (irq, line) in lines.iter_mut().enumerate() {
            set(line, isa >> irq & 1 != 0);
        }
    }
}

struct PirqEnd {
    router: Arc<Router>,
    pirq: usize,
}

impl PirqEnd {
    fn change(&self, level: bool, set: impl Fn(&mut Line, bool)) {
        let change = |pirqs: &mut Pirqs| {
            if let Some(own) = pirqs.levels.get_mut(self.pirq) {
                *own = level;
            }
        };
        self.router.change(change, set);
    }
}

impl LineEnd for PirqEnd {
    fn set_level(&self, level: bool) {
        self.change(level, Line::set_level);
    }

    fn restore_level(&self, level: bool) {
        self.change(level, Line::restore_level);
    }
}

/// The bridge, a PCI function.
pub struct Piix3 {
    // Wiring.
    router: Arc<Router>,
    // Guest-visible state.
    endpoint: Endpoint,
    reset_control: Arc<AtomicU8>,
}

impl std::fmt::Debug for Piix3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Piix3")
            .field("routes", &self.routes())
            .finish_non_exhaustive()
    }
}

impl Piix3 {
    /// A bridge after reset; `isa` are lines to the ISA interrupts, 0 first.
    ///
    /// # Errors
    /// Never: its registers fit.
    pub fn new(isa: [Line; 16]) -> Result<Self, ConfigError> {
        Ok(Self {
            router: Arc::new(Router {
                inner: Mutex::new((Pirqs::default(), isa)),
            }),
            endpoint: Endpoint::new(config_space()?),
            reset_control: Arc::default(),
        })
    }

    /// A wire to PIRQ A (0) to D (3); another leads nowhere.
    #[must_use]
    pub fn pirq(&self, pirq: usize) -> Arc<Wire> {
        Wire::new(Arc::new(PirqEnd {
            router: Arc::clone(&self.router),
            pirq,
        }))
    }

    /// The four ports from 0xcf8 on as they reach the bridge: accesses to PCI's configuration space do not.
    #[must_use]
    pub fn reset_port(&self, events: Arc<dyn EventSink>) -> ResetPort {
        ResetPort {
            events,
            control: Arc::clone(&self.reset_control),
        }
    }

    /// Leads each PIRQ to an ISA interrupt, now and after each reset: what firmware would have done.
    ///
    /// # Errors
    /// Never: the registers exist.
    pub fn assign_routes(&mut self, irqs: [u8; PIRQS]) -> Result<(), ConfigError> {
        let config = self.endpoint.config_mut();
        config.define(offset::PIRQRC, &irqs, &[PIRQ_WRITABLE; PIRQS])?;
        self.follow_routes(Line::set_level);
        Ok(())
    }

    fn routes(&self) -> [PirqRoute; PIRQS] {
        let routes: [u8; PIRQS] = self.endpoint.config().get(offset::PIRQRC);
        routes.map(PirqRoute::from_bits)
    }

    fn follow_routes(&self, set: impl Fn(&mut Line, bool)) {
        let routes = self.routes();
        self.router.change(|pirqs| pirqs.routes = routes, set);
    }
}

fn config_space() -> Result<ConfigSpace, ConfigError> {
    let mut config = ConfigSpace::new(Identity {
        vendor: 0x8086,
        device: 0x7000,
        revision: 0,
        class: Class {
            base: 0x06,
            sub: 0x01,
            interface: 0x00,
        },
        subsystem_vendor: 0,
        subsystem: 0,
    });
    config.define(header::COMMAND, &[0x07, 0], &[0x08, 0x01])?;
    config.define(header::STATUS, &[0x00, 0x02], &[])?;
    config.define(header::CACHE_LINE_SIZE, &[0, 0], &[0, 0])?;
    config.define(header::INTERRUPT_LINE, &[0], &[0])?;
    let kept: [(u8, &[u8]); 16] = [
        (offset::IORT, &[0x4d]),
        (offset::XBCS, &[0x03, 0x00]),
        (offset::TOM, &[0x02]),
        (offset::MSTAT, &[0, 0]),
        (offset::MBIRQ0, &[0x80]),
        (offset::MBDMA, &[0x0c, 0x0c]),
        (offset::PCSC, &[0x02, 0x00]),
        (offset::APICBASE, &[0]),
        (offset::DLC, &[0]),
        (offset::SMICNTL, &[0x08]),
        (offset::SMIEN, &[0, 0]),
        (offset::SEE, &[0; 4]),
        (offset::FTMR, &[0x0f]),
        (offset::SMIREQ, &[0, 0]),
        (offset::CTLTMR, &[0]),
        (offset::CTHTMR, &[0]),
    ];
    for (at, reset) in kept {
        let all = vec![0xff; reset.len()];
        config.define(at, reset, &all)?;
    }
    config.define(offset::PIRQRC, &[0x80; PIRQS], &[PIRQ_WRITABLE; PIRQS])?;
    Ok(config)
}

impl PciFunction for Piix3 {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn endpoint_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    fn config_write(&mut self, at: u16, data: &[u8]) {
        self.endpoint.write_config(at, data);
        self.follow_routes(Line::set_level);
    }
}

impl Component for Piix3 {
    fn reset(&mut self) {
        self.endpoint.reset();
        self.reset_control.store(0, Ordering::SeqCst);
        self.follow_routes(Line::set_level);
    }

    fn save(&self) -> SavedState {
        let state = Piix3StateV1 {
            endpoint: self.endpoint.save(),
            reset_control: self.reset_control.load(Ordering::SeqCst),
        };
        SavedState::encode(state::KIND, state::VERSION, &state)
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let Piix3StateV1 {
            endpoint,
            reset_control,
        } = state.decode(state::KIND, state::VERSION)?;
        let possible = ResetControl::new().with_srst(true).into_bits();
        RestoreError::check(
            state::KIND,
            "reset_control",
            reset_control.into(),
            reset_control & !possible == 0,
        )?;
        self.endpoint.restore(state::KIND, &endpoint)?;
        self.reset_control.store(reset_control, Ordering::SeqCst);
        self.follow_routes(Line::restore_level);
        Ok(())
    }
}

/// The reset control at port 0xcf9. Its state is the bridge's.
pub struct ResetPort {
    events: Arc<dyn EventSink>,
    control: Arc<AtomicU8>,
}

impl std::fmt::Debug for ResetPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResetPort")
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}

impl PortDevice for ResetPort {
    fn read(&mut self, at: u16, data: &mut [u8]) -> Result<(), AccessError> {
        match (at, data) {
            (RC, [byte]) => *byte = self.control.load(Ordering::SeqCst),
            (RC, _) => return Err(AccessError::Width),
            _ => return Err(AccessError::NoRegister),
        }
        Ok(())
    }

    fn write(&mut self, at: u16, data: &[u8]) -> Result<(), AccessError> {
        match (at, data) {
            (RC, [byte]) => {
                let written = ResetControl::from_bits(*byte);
                let kept = ResetControl::new().with_srst(written.srst());
                self.control.store(kept.into_bits(), Ordering::SeqCst);
                // What would stay set is cleared by the reset that it makes.
                if written.rcpu() {
                    self.events.event(MachineEvent::Reset);
                }
                Ok(())
            }
            (RC, _) => Err(AccessError::Width),
            _ => Err(AccessError::NoRegister),
        }
    }
}
