//! What firmware does on a PC: gives each base address register its address. A machine without firmware has its board
//! do it.

use std::ops::Range;

use thiserror::Error;

use crate::address::{DeviceFunction, swizzle};
use crate::bars::{Bar, BarKind};
use crate::bus::RootBus;

/// The addresses that a host bridge passes on, and the interrupts of its four lines: what a board's `_CRS` and `_PRT`
/// say as well.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Windows {
    /// Ports.
    pub io: Range<u64>,
    /// Memory below 4 GiB.
    pub memory32: Range<u64>,
    /// Memory above; prefetchable 64-bit registers go here first, others when there is no room below. Empty: none.
    pub memory64: Range<u64>,
    /// What the interrupt line register says for each of the four lines; 0xff: not connected.
    pub irqs: [u8; 4],
}

/// A window is too small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{name}: no room for the {size:#x} bytes of base address register {bar}")]
pub struct AssignError {
    /// The function.
    pub name: &'static str,
    /// Its base address register.
    pub bar: u8,
    /// Bytes or ports.
    pub size: u64,
}

impl RootBus {
    /// Gives each base address register an address in `windows`, now and after each reset, and fills the interrupt line
    /// registers. The functions answer when the guest sets COMMAND.
    ///
    /// # Errors
    /// When a window is too small; some registers have their addresses then.
    pub fn assign(&self, windows: &Windows) -> Result<(), AssignError> {
        let mut wanted = Vec::new();
        for (at, function) in self.core.functions() {
            function.configure(&mut |config| {
                if let Some(pin) = config.interrupt_pin() {
                    let irq = windows.irqs.get(swizzle(at.device(), pin));
                    config.assign_interrupt_line(irq.copied().unwrap_or(0xff));
                }
                let bars = (0..).zip(config.bars);
                wanted.extend(bars.filter_map(|(index, bar)| Some((bar?, at, index))));
            });
        }
        // The largest first: then none leaves a gap for its alignment.
        wanted.sort_by_key(|(bar, at, index): &(Bar, DeviceFunction, u8)| {
            (u64::MAX - bar.size(), *at, *index)
        });
        let mut left = windows.clone();
        for (bar, at, index) in wanted {
            let Some(function) = self.core.function(at) else {
                continue;
            };
            let (name, size) = (function.name(), bar.size());
            let error = AssignError {
                name,
                bar: index,
                size,
            };
            let base = left.take(bar).ok_or(error)?;
            function.configure(&mut |config| config.assign_bar(index, base));
        }
        Ok(())
    }
}

impl Windows {
    fn take(&mut self, bar: Bar) -> Option<u64> {
        let Self {
            io,
            memory32,
            memory64,
            ..
        } = self;
        match (bar.kind(), bar.prefetchable) {
            (BarKind::Io, _) => take(io, bar.size()),
            (BarKind::Memory32, _) => take(memory32, bar.size()),
            (BarKind::Memory64, true) => {
                take(memory64, bar.size()).or_else(|| take(memory32, bar.size()))
            }
            (BarKind::Memory64, false) => {
                take(memory32, bar.size()).or_else(|| take(memory64, bar.size()))
            }
        }
    }
}

/// The next aligned range of `size`; base 0 would mean that there is none.
fn take(window: &mut Range<u64>, size: u64) -> Option<u64> {
    let base = window.start.max(1).checked_next_multiple_of(size)?;
    let end = base.checked_add(size).filter(|end| *end <= window.end)?;
    window.start = end;
    Some(base)
}
