//! How the host reaches a device that stands behind a transport on a bus.

use trivisor_buses::Shell;

use crate::device::{Io, VirtioDevice};
use crate::mmio::MmioTransport;

/// A device in its place on a bus, whatever its transport, for what the host wants of it: another size of a balloon,
/// what is typed into a console.
pub trait Drive<D>: Send + Sync {
    /// Gives the device a turn on the host's behalf, under its lock. Where its driver is not ready it sees no
    /// queues. Not to be called from inside the device.
    fn drive(&self, turn: &mut dyn FnMut(&mut D, &mut Io<'_>));
}

impl<D: VirtioDevice> Drive<D> for Shell<MmioTransport<D>> {
    fn drive(&self, turn: &mut dyn FnMut(&mut D, &mut Io<'_>)) {
        self.with(|transport| transport.drive(turn));
    }
}

#[cfg(feature = "pci")]
impl<D: VirtioDevice> Drive<D> for trivisor_pci::FunctionShell<crate::pci::PciTransport<D>> {
    fn drive(&self, turn: &mut dyn FnMut(&mut D, &mut Io<'_>)) {
        self.with(|transport| transport.drive(turn));
    }
}
