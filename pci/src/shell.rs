//! The bus's shell around a function: the one lock, the counters, the ways in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use trivisor_buses::routing::PortSpace;
use trivisor_buses::shell::AccessCounts;
use trivisor_buses::{
    AccessError, Installed, Line, Look, MmioAddress, PioAddress, RestoreError, SavedState, Wake,
    Woken,
};
use vm_device::{DeviceMmio, DevicePio};

use crate::address::DeviceFunction;
use crate::bars::{BARS, BarWindow};
use crate::bus::Core;
use crate::config::ConfigSpace;
use crate::function::PciFunction;

struct Inner<F> {
    function: F,
    counts: AccessCounts,
}

/// A function on its bus, behind its lock.
pub struct FunctionShell<F> {
    name: &'static str,
    at: DeviceFunction,
    bus: Weak<Core>,
    inner: Mutex<Inner<F>>,
}

impl<F> std::fmt::Debug for FunctionShell<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FunctionShell")
            .field("name", &self.name)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl<F: PciFunction> FunctionShell<F> {
    pub(crate) fn new(
        name: &'static str,
        at: DeviceFunction,
        bus: Weak<Core>,
        function: F,
    ) -> Arc<Self> {
        let counts = AccessCounts::default();
        Arc::new(Self {
            name,
            at,
            bus,
            inner: Mutex::new(Inner { function, counts }),
        })
    }

    /// The function's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Where on its bus it stands.
    #[must_use]
    pub const fn at(&self) -> DeviceFunction {
        self.at
    }

    /// Runs `with` on the function, under its lock. Not to be called from inside a function.
    pub fn with<R>(&self, with: impl FnOnce(&mut F) -> R) -> R {
        self.with_inner(|inner| with(&mut inner.function))
    }

    /// What the guest did so far by way of the base address registers.
    pub fn counts(&self) -> AccessCounts {
        self.lock().counts
    }

    fn lock(&self) -> MutexGuard<'_, Inner<F>> {
        // No function panics; should one do so all the same, its registers are still plain values.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_inner<R>(&self, with: impl FnOnce(&mut Inner<F>) -> R) -> R {
        let mut inner = self.lock();
        let result = with(&mut inner);
        let moved = inner.function.endpoint_mut().take_moved();
        let effect = inner.function.take_effect();
        drop(inner);
        if let Some(effect) = effect {
            effect();
        }
        if moved && let Some(bus) = self.bus.upgrade() {
            bus.reroute(self.at);
        }
        result
    }
}

/// A function as its bus sees it, whatever its type.
pub(crate) trait OnBus: Send + Sync {
    fn name(&self) -> &'static str;
    fn config_read(&self, offset: u16, data: &mut [u8]);
    fn config_write(&self, offset: u16, data: &[u8]);
    fn bar_read(&self, bar: u8, offset: u64, data: &mut [u8]);
    fn bar_write(&self, bar: u8, offset: u64, data: &[u8]);
    /// Runs `with` on its configuration space.
    fn configure(&self, with: &mut dyn FnMut(&mut ConfigSpace));
    fn windows(&self) -> [Option<BarWindow>; BARS as usize];
    fn window_moved(&self, bar: u8, base: Option<u64>);
    fn connect(&self, line: Line);
}

impl<F: PciFunction> OnBus for FunctionShell<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn config_read(&self, offset: u16, data: &mut [u8]) {
        self.with(|function| function.config_read(offset, data));
    }

    fn config_write(&self, offset: u16, data: &[u8]) {
        self.with(|function| function.config_write(offset, data));
    }

    fn bar_read(&self, bar: u8, offset: u64, data: &mut [u8]) {
        self.with_inner(|inner| {
            inner.counts.reads += 1;
            each_register(data.len(), |at, len| {
                let part = data.get_mut(at..at + len).unwrap_or_default();
                let offset = offset.wrapping_add(to_u64(at));
                let function = &mut inner.function;
                let result = match function.endpoint().read_msix(bar, offset, part) {
                    Some(result) => result,
                    None => function.bar_read(bar, offset, part),
                };
                if let Err(error) = result {
                    part.fill(0xff);
                    refuse(&mut inner.counts, offset, error);
                }
            });
        });
    }

    fn bar_write(&self, bar: u8, offset: u64, data: &[u8]) {
        self.with_inner(|inner| {
            inner.counts.writes += 1;
            each_register(data.len(), |at, len| {
                let part = data.get(at..at + len).unwrap_or_default();
                let offset = offset.wrapping_add(to_u64(at));
                let function = &mut inner.function;
                let result = match function.endpoint_mut().write_msix(bar, offset, part) {
                    Some(result) => result,
                    None => function.bar_write(bar, offset, part),
                };
                if let Err(error) = result {
                    refuse(&mut inner.counts, offset, error);
                }
            });
        });
    }

    fn configure(&self, with: &mut dyn FnMut(&mut ConfigSpace)) {
        self.with(|function| with(function.endpoint_mut().config_mut()));
    }

    fn windows(&self) -> [Option<BarWindow>; BARS as usize] {
        self.lock().function.endpoint().config().windows()
    }

    fn window_moved(&self, bar: u8, base: Option<u64>) {
        self.lock().function.window_moved(bar, base);
    }

    fn connect(&self, line: Line) {
        self.lock().function.endpoint_mut().connect(line);
    }
}

impl<F: PciFunction> Installed for FunctionShell<F> {
    fn start(&self) {
        self.with(F::start);
    }

    fn pause(&self) {
        self.with(F::pause);
    }

    fn reset(&self) {
        self.with(F::reset);
    }

    fn save(&self) -> SavedState {
        self.with(|function| function.save())
    }

    fn restore(&self, state: &SavedState) -> Result<(), RestoreError> {
        self.with(|function| function.restore(state))
    }
}

impl<F: PciFunction + Wake> Woken for FunctionShell<F> {
    fn wake(&self) -> bool {
        self.with(F::wake)
    }

    fn is_rung(&self) -> bool {
        self.with(|function| function.is_rung())
    }

    fn look(&self, last: bool) -> Look {
        self.with(|function| function.look(last))
    }
}

/// A base address register on the machine's bus.
pub(crate) struct BarDevice {
    pub(crate) function: Arc<dyn OnBus>,
    pub(crate) bar: u8,
}

impl DevicePio for BarDevice {
    fn pio_read(&self, _base: PioAddress, offset: u16, data: &mut [u8]) {
        self.function.bar_read(self.bar, offset.into(), data);
    }

    fn pio_write(&self, _base: PioAddress, offset: u16, data: &[u8]) {
        self.function.bar_write(self.bar, offset.into(), data);
    }
}

impl PortSpace for BarDevice {}

impl DeviceMmio for BarDevice {
    fn mmio_read(&self, _base: MmioAddress, offset: u64, data: &mut [u8]) {
        self.function.bar_read(self.bar, offset, data);
    }

    fn mmio_write(&self, _base: MmioAddress, offset: u64, data: &[u8]) {
        self.function.bar_write(self.bar, offset, data);
    }
}

/// An access of a width that no register has is one access a byte.
fn each_register(len: usize, mut access: impl FnMut(usize, usize)) {
    if matches!(len, 1 | 2 | 4 | 8) {
        access(0, len);
    } else {
        (0..len).for_each(|at| access(at, 1));
    }
}

fn refuse(counts: &mut AccessCounts, offset: u64, error: AccessError) {
    counts.errors += 1;
    counts.last_error = Some((offset, error));
}

fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
