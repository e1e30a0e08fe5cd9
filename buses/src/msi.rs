//! Message-signalled interrupts, and what an I/O APIC outside the kernel needs of its host.

/// A message as a PCI function or an I/O APIC writes it: Intel SDM volume 3, "Message Signalled
/// Interrupts" (address 0xfeexxxxx, data with vector and trigger mode).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Msi {
    /// Message address.
    pub address: u64,
    /// Message data.
    pub data: u32,
}

/// Where messages leave the machine's devices for the local APICs.
pub trait MsiSink: Send + Sync {
    /// Delivers one message. What the local APICs do not accept is lost, as on a real bus.
    fn send(&self, msi: Msi);
}

/// Tells the local APICs' host which messages belong to which pin, so that it can report the end of a
/// level-triggered interrupt.
pub trait PinRoutes: Send + Sync {
    /// `pin` (a global system interrupt) sends `msi` from now on; `None`: nothing.
    fn set_route(&self, pin: u32, msi: Option<Msi>);
}

/// Who wants to know that the guest has ended a level-triggered interrupt.
pub trait EoiTarget: Send + Sync {
    /// A local APIC saw the end of the interrupt with this vector.
    fn end_of_interrupt(&self, vector: u8);
}
