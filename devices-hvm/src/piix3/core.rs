//! PIRQ routing as a value: levels and routes in, levels of ISA interrupts out.

use super::regs::{PirqRoute, ROUTABLE};

/// PIRQ lines: A to D.
pub const PIRQS: usize = 4;

/// Levels of the lines, and where they lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pirqs {
    pub(super) routes: [PirqRoute; PIRQS],
    pub(super) levels: [bool; PIRQS],
}

impl Default for Pirqs {
    fn default() -> Self {
        Self {
            routes: [PirqRoute::new().with_disable(true); PIRQS],
            levels: [false; PIRQS],
        }
    }
}

impl Pirqs {
    /// The ISA interrupts that are high because of a PIRQ, a bit each.
    #[must_use]
    pub fn isa(&self) -> u16 {
        let high = self.routes.iter().zip(self.levels);
        let high = high.filter(|(route, level)| *level && !route.disable());
        high.fold(0, |isa, (route, _)| isa | (1 << route.irq())) & ROUTABLE
    }
}
