//! How the host reaches a device that stands behind a transport on a bus.

use trivisor_buses::Shell;

use crate::device::{Io, VirtioDevice};
use crate::mmio::MmioTransport;

/// A device on a bus, whatever its transport: for another size of a balloon, for what is typed into a console.
pub trait HostSide<D>: Send + Sync {
    /// Gives the device a turn, under its lock. Not to be called from inside the device.
    fn turn(&self, work: &mut dyn FnMut(&mut D, &mut Io<'_>));
}

impl<D: VirtioDevice> HostSide<D> for Shell<MmioTransport<D>> {
    fn turn(&self, work: &mut dyn FnMut(&mut D, &mut Io<'_>)) {
        self.with(|transport| transport.drive(work));
    }
}

#[cfg(feature = "pci")]
impl<D: VirtioDevice> HostSide<D> for trivisor_pci::FunctionShell<crate::pci::PciTransport<D>> {
    fn turn(&self, work: &mut dyn FnMut(&mut D, &mut Io<'_>)) {
        self.with(|transport| transport.drive(work));
    }
}
