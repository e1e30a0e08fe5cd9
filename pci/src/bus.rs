//! The root bus: which function stands where, and how configuration accesses reach it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use thiserror::Error;
use trivisor_buses::{Line, MmioBus, PortBus, Wire};

use crate::address::{DeviceFunction, FUNCTIONS, InterruptPin, swizzle};
use crate::ecam::Ecam;
use crate::function::PciFunction;
use crate::ports::ConfigPorts;
use crate::regs::{MULTI_FUNCTION, offset};
use crate::routes::Routes;
use crate::shell::{FunctionShell, OnBus};

/// Why a function cannot stand on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AddError {
    /// No device number is free.
    #[error("{name}: all 32 devices of the PCI bus are taken")]
    Full {
        /// The function.
        name: &'static str,
    },
    /// There is one already.
    #[error("{name}: {at} of the PCI bus is {other}'s")]
    Taken {
        /// The function.
        name: &'static str,
        /// Where it was to stand.
        at: DeviceFunction,
        /// Who stands there.
        other: &'static str,
    },
    /// Guests look for further functions only where there is function 0.
    #[error("{name}: {at} of the PCI bus needs a function 0 beside it")]
    NoFirst {
        /// The function.
        name: &'static str,
        /// Where it was to stand.
        at: DeviceFunction,
    },
}

/// The functions, by number.
type Table = Vec<Option<Arc<dyn OnBus>>>;

/// What the bus, its functions and its ways of access share.
///
/// Lock order: routes, then a function. The table is an immutable snapshot, so vCPUs share no lock of the bus.
pub(crate) struct Core {
    table: ArcSwap<Table>,
    routes: Mutex<Routes>,
    intx: Option<[Arc<Wire>; 4]>,
}

impl Core {
    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn function(&self, at: DeviceFunction) -> Option<Arc<dyn OnBus>> {
        self.table.load().get(at.index()).cloned().flatten()
    }

    /// All functions, in order.
    pub(crate) fn functions(&self) -> Vec<(DeviceFunction, Arc<dyn OnBus>)> {
        let all = (0..=u8::MAX).map(DeviceFunction::from_bits);
        all.filter_map(|at| Some((at, self.function(at)?)))
            .collect()
    }

    /// Reads within an aligned double word; an absent function reads all ones.
    pub(crate) fn config_read(&self, at: DeviceFunction, register: u16, data: &mut [u8]) {
        match self.function(at) {
            Some(function) => function.config_read(register, data),
            None => data.fill(0xff),
        }
    }

    /// Writes within an aligned double word.
    pub(crate) fn config_write(&self, at: DeviceFunction, register: u16, data: &[u8]) {
        if let Some(function) = self.function(at) {
            function.config_write(register, data);
        }
    }

    /// Lets the base address registers of a function answer where they now stand. What they hold is read under the
    /// routes' lock: of two changes at once, the later one is routed, whoever comes first.
    pub(crate) fn reroute(&self, at: DeviceFunction) {
        let mut routes = self.routes();
        if let Some(function) = self.function(at) {
            routes.update(at, &function, function.windows());
        }
    }

    fn set(&self, at: DeviceFunction, function: Option<Arc<dyn OnBus>>) {
        let mut table = Table::clone(&self.table.load());
        if let Some(slot) = table.get_mut(at.index()) {
            *slot = function;
        }
        self.table.store(Arc::new(table));
    }

    fn line(&self, at: DeviceFunction, pin: InterruptPin) -> Line {
        let wires = self.intx.as_ref();
        let wire = wires.and_then(|wires| wires.get(swizzle(at.device(), pin)));
        wire.map_or_else(Line::detached, Wire::line)
    }
}

/// Bus 0 of a machine.
#[derive(Clone)]
pub struct RootBus {
    pub(crate) core: Arc<Core>,
}

impl std::fmt::Debug for RootBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

impl RootBus {
    /// An empty bus, whose functions answer on `ports` and `memory`. Their interrupt pins lead to the wires of `intx`
    /// as [`swizzle`] says; `None`: nowhere.
    #[must_use]
    pub fn new(ports: &Arc<PortBus>, memory: &Arc<MmioBus>, intx: Option<[Arc<Wire>; 4]>) -> Self {
        Self {
            core: Arc::new(Core {
                table: ArcSwap::from_pointee(vec![None; FUNCTIONS]),
                routes: Mutex::new(Routes::new(ports, memory)),
                intx,
            }),
        }
    }

    /// Adds a function as the only one of the next free device.
    ///
    /// # Errors
    /// When all devices are taken.
    pub fn add<F>(&self, name: &'static str, function: F) -> Result<Arc<FunctionShell<F>>, AddError>
    where
        F: PciFunction + 'static,
    {
        let mut routes = self.core.routes();
        let taken = |at: DeviceFunction| self.core.function(at).is_some();
        let free = (0..32)
            .filter_map(|device| DeviceFunction::new(device, 0))
            .find(|first| {
                (0..8)
                    .filter_map(|function| DeviceFunction::new(first.device(), function))
                    .all(|at| !taken(at))
            });
        let at = free.ok_or(AddError::Full { name })?;
        Ok(self.insert(&mut routes, name, at, function))
    }

    /// Adds a function at a number of its own. With a function beside it, a device has several.
    ///
    /// # Errors
    /// When the number is taken, or function 0 of the device is missing.
    pub fn add_at<F>(
        &self,
        name: &'static str,
        at: DeviceFunction,
        function: F,
    ) -> Result<Arc<FunctionShell<F>>, AddError>
    where
        F: PciFunction + 'static,
    {
        let mut routes = self.core.routes();
        if let Some(other) = self.core.function(at) {
            let other = other.name();
            return Err(AddError::Taken { name, at, other });
        }
        if at.function() != 0 && self.core.function(at.first()).is_none() {
            return Err(AddError::NoFirst { name, at });
        }
        let shell = self.insert(&mut routes, name, at, function);
        drop(routes);
        self.tell_first(at);
        Ok(shell)
    }

    /// Guests look at function 0 to learn whether there are more.
    fn tell_first(&self, at: DeviceFunction) {
        let others = self.core.functions().into_iter();
        let several = others
            .filter(|(other, _)| other.first() == at.first())
            .any(|(other, _)| other.function() != 0);
        if let (true, Some(first)) = (several, self.core.function(at.first())) {
            first.configure(&mut |config| config.fix(offset::HEADER_TYPE, &[MULTI_FUNCTION]));
        }
    }

    fn insert<F>(
        &self,
        routes: &mut Routes,
        name: &'static str,
        at: DeviceFunction,
        mut function: F,
    ) -> Arc<FunctionShell<F>>
    where
        F: PciFunction + 'static,
    {
        if let Some(pin) = function.endpoint().config().interrupt_pin() {
            let line = self.core.line(at, pin);
            function.endpoint_mut().connect(line);
        }
        // The routes are looked at below.
        let _answers_nowhere_yet = function.endpoint_mut().take_moved();
        let shell = FunctionShell::new(name, at, Arc::downgrade(&self.core), function);
        let on_bus: Arc<dyn OnBus> = Arc::<FunctionShell<F>>::clone(&shell);
        routes.update(at, &on_bus, on_bus.windows());
        self.core.set(at, Some(on_bus));
        shell
    }

    /// Takes a function off the bus, its pin low; false when there is none. A vCPU that is in it finishes its access.
    pub fn remove(&self, at: DeviceFunction) -> bool {
        let mut routes = self.core.routes();
        let Some(function) = self.core.function(at) else {
            return false;
        };
        self.core.set(at, None);
        routes.remove(at);
        function.connect(Line::detached());
        true
    }

    /// Number and name of each function, in order.
    #[must_use]
    pub fn list(&self) -> Vec<(DeviceFunction, &'static str)> {
        let functions = self.core.functions().into_iter();
        functions
            .map(|(at, function)| (at, function.name()))
            .collect()
    }

    /// How often a base address register was put where it cannot answer: on another device, or outside of its
    /// address space.
    #[must_use]
    pub fn blocked(&self) -> u64 {
        self.core.routes().blocked()
    }

    /// The ports 0xcf8 to 0xcff.
    #[must_use]
    pub fn config_ports(&self) -> ConfigPorts {
        ConfigPorts::new(Arc::clone(&self.core))
    }

    /// The configuration spaces as memory. It has no state and no lock: it goes straight on the machine's bus.
    #[must_use]
    pub fn ecam(&self) -> Arc<Ecam> {
        Arc::new(Ecam::new(Arc::clone(&self.core)))
    }
}
