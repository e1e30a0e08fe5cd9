//! Which base address registers answer on the machine's buses.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use trivisor_buses::{MmioBus, PortBus};

use crate::address::DeviceFunction;
use crate::bars::{BARS, BarSpace, BarWindow};
use crate::shell::{BarDevice, OnBus};

/// A base address register that wants to answer.
struct Route {
    window: BarWindow,
    function: Arc<dyn OnBus>,
    routed: bool,
    /// It was counted as one that cannot.
    counted: bool,
}

/// All of them, and the buses. Where two overlap, the first in the order of device, function and register answers:
/// so what is routed follows from what the registers hold, in whatever order they were written.
pub(crate) struct Routes {
    ports: Weak<PortBus>,
    memory: Weak<MmioBus>,
    wanted: BTreeMap<(DeviceFunction, u8), Route>,
    blocked: u64,
}

impl Routes {
    /// The buses hold the functions, not the other way round.
    pub(crate) fn new(ports: &Arc<PortBus>, memory: &Arc<MmioBus>) -> Self {
        Self {
            ports: Arc::downgrade(ports),
            memory: Arc::downgrade(memory),
            wanted: BTreeMap::new(),
            blocked: 0,
        }
    }

    /// How often a base address register was put where it cannot answer.
    pub(crate) const fn blocked(&self) -> u64 {
        self.blocked
    }

    /// The registers of `function` answer in `windows` from now on, and nowhere else.
    pub(crate) fn update(
        &mut self,
        at: DeviceFunction,
        function: &Arc<dyn OnBus>,
        windows: [Option<BarWindow>; BARS as usize],
    ) {
        for (bar, window) in (0..).zip(windows) {
            let old = self.wanted.get(&(at, bar)).map(|route| route.window);
            if old == window {
                continue;
            }
            self.withdraw(at, bar);
            if let Some(window) = window {
                let route = Route {
                    window,
                    function: Arc::clone(function),
                    routed: false,
                    counted: false,
                };
                self.wanted.insert((at, bar), route);
            }
        }
        self.settle();
    }

    /// The function is gone.
    pub(crate) fn remove(&mut self, at: DeviceFunction) {
        (0..BARS).for_each(|bar| self.withdraw(at, bar));
        self.settle();
    }

    fn withdraw(&mut self, at: DeviceFunction, bar: u8) {
        if let Some(route) = self.wanted.remove(&(at, bar)).filter(|route| route.routed) {
            self.detach(route.window);
            route.function.window_moved(bar, None);
        }
    }

    /// Takes off what another one has displaced, then puts on what has room.
    fn settle(&mut self) {
        let mut kept: Vec<BarWindow> = Vec::new();
        let mut displaced = Vec::new();
        let mut admitted = Vec::new();
        for (key, route) in &self.wanted {
            let free = !kept.iter().any(|other| other.overlaps(&route.window));
            if free {
                kept.push(route.window);
                admitted.push(*key);
            } else {
                displaced.push(*key);
            }
        }
        for key in displaced {
            if let Some(mut route) = self.wanted.remove(&key) {
                if route.routed {
                    self.detach(route.window);
                    route.function.window_moved(key.1, None);
                }
                route.routed = false;
                self.count(&mut route);
                self.wanted.insert(key, route);
            }
        }
        for key in admitted {
            if let Some(mut route) = self.wanted.remove(&key) {
                if !route.routed && self.attach(key.1, &route) {
                    route.routed = true;
                    route.counted = false;
                    let base = Some(route.window.base);
                    route.function.window_moved(key.1, base);
                }
                if !route.routed {
                    self.count(&mut route);
                }
                self.wanted.insert(key, route);
            }
        }
    }

    fn count(&mut self, route: &mut Route) {
        self.blocked += u64::from(!route.counted);
        route.counted = true;
    }

    fn attach(&self, bar: u8, route: &Route) -> bool {
        let function = Arc::clone(&route.function);
        let (name, BarWindow { space, base, size }) = (function.name(), route.window);
        let device = Arc::new(BarDevice { function, bar });
        let attached = match space {
            BarSpace::Ports => {
                let bus = self.ports.upgrade();
                bus.map(|bus| bus.attach(name, base, size, device))
            }
            BarSpace::Memory => {
                let bus = self.memory.upgrade();
                bus.map(|bus| bus.attach(name, base, size, device))
            }
        };
        attached.is_some_and(|result| result.is_ok())
    }

    fn detach(&self, window: BarWindow) {
        match window.space {
            BarSpace::Ports => self.ports.upgrade().map(|bus| bus.detach(window.base)),
            BarSpace::Memory => self.memory.upgrade().map(|bus| bus.detach(window.base)),
        };
    }
}
