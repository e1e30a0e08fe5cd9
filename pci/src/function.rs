//! What a function on a PCI bus is.

use trivisor_buses::{AccessError, Component};

use crate::endpoint::Endpoint;

/// Something outside of a function that follows from an access: memory that is switched, ports that move.
pub type Effect = Box<dyn FnOnce() + Send>;

/// A function. It does not know where on its bus it stands, nor where its base address registers do.
///
/// [`Component::reset`], `save` and `restore` include those of the [`Endpoint`].
pub trait PciFunction: Component {
    /// Its PCI side.
    fn endpoint(&self) -> &Endpoint;

    /// Its PCI side.
    fn endpoint_mut(&mut self) -> &mut Endpoint;

    /// Fills `data` (1, 2, 4 or 8 bytes, little-endian) from `offset` in base address register `bar`.
    ///
    /// # Errors
    /// The reason for which the guest gets all ones instead.
    fn bar_read(&mut self, bar: u8, offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
        let _no_register = (bar, offset, data);
        Err(AccessError::NoRegister)
    }

    /// Takes `data` (1, 2, 4 or 8 bytes, little-endian) to `offset` in base address register `bar`.
    ///
    /// # Errors
    /// The reason for which the write has no effect.
    fn bar_write(&mut self, bar: u8, offset: u64, data: &[u8]) -> Result<(), AccessError> {
        let _no_register = (bar, offset, data);
        Err(AccessError::NoRegister)
    }

    /// A guest reads configuration space: at most 4 bytes, within an aligned double word. A function whose registers
    /// there are more than storage answers for them itself, and leaves the rest to the endpoint.
    fn config_read(&mut self, offset: u16, data: &mut [u8]) {
        self.endpoint().read_config(offset, data);
    }

    /// A guest writes configuration space; see [`config_read`](Self::config_read).
    fn config_write(&mut self, offset: u16, data: &[u8]) {
        self.endpoint_mut().write_config(offset, data);
    }

    /// What others are to do because of the latest access; asked for after each stay in the function, and carried out
    /// when its lock is dropped. Accesses by ports 0xcf8 and 0xcfc come one after the other, and so do their effects.
    fn take_effect(&mut self) -> Option<Effect> {
        None
    }

    /// Base address register `bar` answers from `base` on from now on (`None`: nowhere): doorbells and mapped pages
    /// move with it.
    fn window_moved(&mut self, bar: u8, base: Option<u64>) {
        let _nothing_moves_with_it = (bar, base);
    }
}
