//! Addresses that a chipset switches between RAM and the bus: the shadow RAM of a PC.

/// Who answers an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Responder {
    /// The RAM at that address.
    Ram,
    /// The bus: a ROM, a device, or nobody.
    Bus,
}

/// A run of addresses with one setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShadowRun {
    /// First guest-physical address, a multiple of the page.
    pub start: u64,
    /// Bytes, a multiple of the page.
    pub size: u64,
    /// Who answers reads.
    pub read: Responder,
    /// Who takes writes.
    pub write: Responder,
}

/// Maps RAM and ROM as a chipset says.
pub trait ShadowMap: Send + Sync {
    /// From now on `runs` hold, and where there is none, the bus answers. They come lowest first and do not overlap.
    ///
    /// It is called with no device's lock held but that of a way of access to configuration space, which puts the
    /// calls in order.
    fn set_shadow(&self, runs: &[ShadowRun]);
}
