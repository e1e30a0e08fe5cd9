//! What a board tells whoever runs the machine, and the buttons on its front.

/// Something happened that ends or may end the machine's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineEvent {
    /// The guest switched the power off (ACPI S5).
    PowerOff,
    /// The guest pulled the reset line.
    Reset,
    /// The guest says that it crashed (pvpanic); it may go on to save a dump.
    Panicked {
        /// pvpanic's event bits.
        events: u8,
    },
    /// What the guest flushed to persistent memory is not stored.
    FlushFailed {
        /// Which memory, in the order of the board.
        index: usize,
    },
    /// A test guest ends the run with this value (isa-debug-exit).
    DebugExit {
        /// What the guest wrote.
        value: u32,
    },
}

/// Takes the events of a board. It must not call back into a device: a device's lock is held.
pub trait EventSink: Send + Sync {
    /// Notes `event`; the vCPU that caused it stops before its next instruction where the event ends
    /// the run.
    fn event(&self, event: MachineEvent);
}

/// The hand on a memory balloon.
pub trait MemoryBalloon: Send + Sync {
    /// The guest is asked to give up this many bytes of its RAM, and may have the rest back.
    fn set_target(&self, bytes: u64);

    /// The bytes that it has given up, as it says.
    fn actual(&self) -> u64;
}

/// The button on the front of the machine.
pub trait PowerButton: Send + Sync {
    /// One short press: the guest is asked to shut down.
    fn press(&self);
}
