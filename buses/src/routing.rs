//! Which device answers at which address.
//!
//! The table of routes is immutable: a change makes a new one and publishes it, so a vCPU that is
//! inside a device holds no lock of the map. Each vCPU looks through a [`View`] of its own, which
//! keeps the snapshot and the route of its last hit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Cache};
use thiserror::Error;
use vm_device::bus::{MmioAddress, PioAddress};
use vm_device::{DeviceMmio, DevicePio};

/// Two devices want the same addresses.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{new_name} at {new_first:#x}..={new_last:#x} overlaps {old_name} at {old_first:#x}..={old_last:#x}"
)]
pub struct Overlap {
    /// Name of the device that came later.
    pub new_name: &'static str,
    /// Its first address.
    pub new_first: u64,
    /// Its last address.
    pub new_last: u64,
    /// Name of the device that is there.
    pub old_name: &'static str,
    /// Its first address.
    pub old_first: u64,
    /// Its last address.
    pub old_last: u64,
}

/// A range that is empty or runs past the end of its address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{name}: {size:#x} bytes at {base:#x} do not fit the address space")]
pub struct BadRange {
    /// The device.
    pub name: &'static str,
    /// Its first address.
    pub base: u64,
    /// The number of addresses.
    pub size: u64,
}

/// Why a device could not be put on a bus.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RouteError {
    /// The addresses are taken.
    #[error(transparent)]
    Overlap(#[from] Overlap),
    /// The range itself is impossible.
    #[error(transparent)]
    Range(#[from] BadRange),
}

/// An address space: 64 KiB of ports or 2^64 bytes of memory.
pub trait Space {
    /// What stands on a bus of this space.
    type Device: ?Sized + Send + Sync;
    /// The highest address.
    const LAST: u64;
    /// Reads `data` at `base + offset` from `device`.
    fn read(device: &Self::Device, base: u64, offset: u64, data: &mut [u8]);
    /// Writes `data` at `base + offset` to `device`.
    fn write(device: &Self::Device, base: u64, offset: u64, data: &[u8]);
}

/// A device in port space, with what vm-device's trait has not: string accesses, many elements at one port.
pub trait PortSpace: DevicePio {
    /// Reads elements of `width` bytes at `base + offset`, one after the other.
    fn read_string(&self, base: u16, offset: u16, width: usize, data: &mut [u8]) {
        let elements = data.chunks_mut(width.max(1));
        elements.for_each(|element| self.pio_read(PioAddress(base), offset, element));
    }

    /// Writes elements of `width` bytes at `base + offset`, one after the other.
    fn write_string(&self, base: u16, offset: u16, width: usize, data: &[u8]) {
        let elements = data.chunks(width.max(1));
        elements.for_each(|element| self.pio_write(PioAddress(base), offset, element));
    }
}

/// Port space: 0 to 0xffff.
#[derive(Debug, Clone, Copy)]
pub struct Ports;

/// Memory space: guest-physical addresses.
#[derive(Debug, Clone, Copy)]
pub struct Memory;

#[expect(
    clippy::cast_possible_truncation,
    reason = "routes of this space were checked to lie below 2^16"
)]
const fn port(value: u64) -> u16 {
    value as u16
}

impl Space for Ports {
    type Device = dyn PortSpace + Send + Sync;
    const LAST: u64 = 0xffff;

    fn read(device: &Self::Device, base: u64, offset: u64, data: &mut [u8]) {
        device.pio_read(PioAddress(port(base)), port(offset), data);
    }

    fn write(device: &Self::Device, base: u64, offset: u64, data: &[u8]) {
        device.pio_write(PioAddress(port(base)), port(offset), data);
    }
}

impl Space for Memory {
    type Device = dyn DeviceMmio + Send + Sync;
    const LAST: u64 = u64::MAX;

    fn read(device: &Self::Device, base: u64, offset: u64, data: &mut [u8]) {
        device.mmio_read(MmioAddress(base), offset, data);
    }

    fn write(device: &Self::Device, base: u64, offset: u64, data: &[u8]) {
        device.mmio_write(MmioAddress(base), offset, data);
    }
}

struct Route<S: Space> {
    first: u64,
    last: u64,
    name: &'static str,
    device: Arc<S::Device>,
}

impl<S: Space> Clone for Route<S> {
    fn clone(&self) -> Self {
        Self {
            device: Arc::clone(&self.device),
            ..*self
        }
    }
}

impl<S: Space> Route<S> {
    fn holds(&self, address: u64, len: u64) -> bool {
        address >= self.first && address <= self.last && self.last - address >= len - 1
    }
}

/// The routes of one address space, sorted by address.
type Routes<S> = Vec<Route<S>>;

/// A bus: the published routes of one address space.
pub struct Bus<S: Space> {
    routes: ArcSwap<Routes<S>>,
    unclaimed: AtomicU64,
}

/// The bus of `in` and `out`.
pub type PortBus = Bus<Ports>;

/// The bus of memory accesses that hit no RAM.
pub type MmioBus = Bus<Memory>;

impl<S: Space> std::fmt::Debug for Bus<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(
                self.list()
                    .iter()
                    .map(|(first, last, name)| format!("{first:#x}..={last:#x} {name}")),
            )
            .finish()
    }
}

impl<S: Space> Default for Bus<S> {
    fn default() -> Self {
        Self {
            routes: ArcSwap::default(),
            unclaimed: AtomicU64::new(0),
        }
    }
}

impl<S: Space> Bus<S> {
    /// Routes `size` addresses from `base` on to `device`, at once for every vCPU.
    ///
    /// # Errors
    /// When the range is empty, leaves the address space or meets another device's.
    pub fn attach(
        &self,
        name: &'static str,
        base: u64,
        size: u64,
        device: Arc<S::Device>,
    ) -> Result<(), RouteError> {
        let last = size
            .checked_sub(1)
            .and_then(|more| base.checked_add(more))
            .filter(|last| *last <= S::LAST);
        let Some(last) = last else {
            return Err(BadRange { name, base, size }.into());
        };
        let mut routes = Routes::clone(&self.routes.load());
        if let Some(old) = routes
            .iter()
            .find(|old| base <= old.last && old.first <= last)
        {
            let (old_name, old_first, old_last) = (old.name, old.first, old.last);
            return Err(Overlap {
                new_name: name,
                new_first: base,
                new_last: last,
                old_name,
                old_first,
                old_last,
            }
            .into());
        }
        let at = routes.partition_point(|route| route.first < base);
        routes.insert(
            at,
            Route {
                first: base,
                last,
                name,
                device,
            },
        );
        self.routes.store(Arc::new(routes));
        Ok(())
    }

    /// Takes the device that starts at `base` off the bus; false when there is none. A vCPU that is in
    /// the device finishes its access.
    pub fn detach(&self, base: u64) -> bool {
        let mut routes = Routes::clone(&self.routes.load());
        let before = routes.len();
        routes.retain(|route| route.first != base);
        let found = routes.len() < before;
        self.routes.store(Arc::new(routes));
        found
    }

    /// First address, last address and name of each device, sorted.
    pub fn list(&self) -> Vec<(u64, u64, &'static str)> {
        self.routes
            .load()
            .iter()
            .map(|route| (route.first, route.last, route.name))
            .collect()
    }

    /// Accesses so far that no device claimed, in whole or in part.
    pub fn unclaimed(&self) -> u64 {
        self.unclaimed.load(Ordering::Relaxed)
    }

    /// A vCPU's look at this bus.
    pub fn view(self: &Arc<Self>) -> View<S> {
        View {
            bus: Arc::clone(self),
            routes: Cache::new(BusRoutes(Arc::clone(self))),
            last_hit: 0,
        }
    }
}

/// Lets a [`Cache`] keep the bus alive.
struct BusRoutes<S: Space>(Arc<Bus<S>>);

impl<S: Space> std::ops::Deref for BusRoutes<S> {
    type Target = ArcSwap<Routes<S>>;

    fn deref(&self) -> &Self::Target {
        &self.0.routes
    }
}

/// One vCPU's way to the devices.
pub struct View<S: Space> {
    bus: Arc<Bus<S>>,
    routes: Cache<BusRoutes<S>, Arc<Routes<S>>>,
    last_hit: usize,
}

impl<S: Space> std::fmt::Debug for View<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("bus", &self.bus)
            .field("last_hit", &self.last_hit)
            .finish_non_exhaustive()
    }
}

impl<S: Space> View<S> {
    /// Reads `data` at `address`; what no device claims reads all ones.
    pub fn read(&mut self, address: u64, data: &mut [u8]) {
        if let Some((route, offset)) = self.find(address, data.len()) {
            return S::read(&route.device, route.first, offset, data);
        }
        let mut unclaimed = false;
        // Across the end of a range: byte by byte, as a bus would.
        for (at, byte) in (0..).zip(data.chunks_mut(1)) {
            match self.find(address.wrapping_add(at), 1) {
                Some((route, offset)) => S::read(&route.device, route.first, offset, byte),
                None => {
                    byte.fill(0xff);
                    unclaimed = true;
                }
            }
        }
        self.count(unclaimed);
    }

    /// Writes `data` at `address`; what no device claims vanishes.
    pub fn write(&mut self, address: u64, data: &[u8]) {
        if let Some((route, offset)) = self.find(address, data.len()) {
            return S::write(&route.device, route.first, offset, data);
        }
        let mut unclaimed = false;
        for (at, byte) in (0..).zip(data.chunks(1)) {
            match self.find(address.wrapping_add(at), 1) {
                Some((route, offset)) => S::write(&route.device, route.first, offset, byte),
                None => unclaimed = true,
            }
        }
        self.count(unclaimed);
    }

    /// The route that holds all `len` bytes, and where in it they start.
    fn find(&mut self, address: u64, len: usize) -> Option<(&Route<S>, u64)> {
        let len = u64::try_from(len).ok().filter(|len| *len > 0)?;
        let routes = self.routes.load();
        let hit = match routes.get(self.last_hit) {
            Some(route) if route.holds(address, len) => self.last_hit,
            _ => routes
                .partition_point(|route| route.first <= address)
                .checked_sub(1)?,
        };
        self.last_hit = hit;
        let route = routes.get(hit).filter(|route| route.holds(address, len))?;
        Some((route, address - route.first))
    }

    fn count(&self, unclaimed: bool) {
        if unclaimed {
            self.bus.unclaimed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl View<Ports> {
    /// Fills `data` as that many reads of `width` bytes at `port`: `rep ins`, as one access of the device.
    pub fn read_string(&mut self, address: u16, width: usize, data: &mut [u8]) {
        match self.find(address.into(), width) {
            Some((route, offset)) => {
                let (base, offset) = (port(route.first), port(offset));
                route.device.read_string(base, offset, width, data);
            }
            None => data
                .chunks_mut(width.max(1))
                .for_each(|element| self.read(address.into(), element)),
        }
    }

    /// Takes `data` as that many writes of `width` bytes at `port`: `rep outs`, as one access of the device.
    pub fn write_string(&mut self, address: u16, width: usize, data: &[u8]) {
        match self.find(address.into(), width) {
            Some((route, offset)) => {
                let (base, offset) = (port(route.first), port(offset));
                route.device.write_string(base, offset, width, data);
            }
            None => data
                .chunks(width.max(1))
                .for_each(|element| self.write(address.into(), element)),
        }
    }
}
