//! What a driver can get wrong about a queue.

use thiserror::Error;

use super::Area;

/// What a driver did to a queue that cannot be gone on from, or a device that gives back what it does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QueueError {
    /// Enabled before this address was written.
    #[error("no address was written for the {area}")]
    AddressMissing {
        /// The part without one.
        area: Area,
    },
    /// An address that the part cannot have.
    #[error("the {area} at {address:#x} is not aligned to {align} bytes")]
    Misaligned {
        /// The part.
        area: Area,
        /// Guest-physical address.
        address: u64,
        /// What it has to be a multiple of.
        align: u64,
    },
    /// A size of 0, or above the most that the device can.
    #[error("a queue size of {size} is not within 1 to {max}")]
    Size {
        /// The size that the driver wrote.
        size: u16,
        /// The most.
        max: u16,
    },
    /// A split ring's size is a power of two.
    #[error("a queue size of {size} is not a power of two")]
    SizeNotPowerOfTwo {
        /// The size that the driver wrote.
        size: u16,
    },
    /// Enabled, or restored, a second time without a reset between.
    #[error("the queue is enabled already")]
    Enabled,
    /// The device gave a buffer to a queue that is not enabled.
    #[error("the queue is not enabled")]
    NotEnabled,
    /// A part of the queue, an indirect table or a buffer is not RAM, or lies across a hole.
    #[error("{what} at {address:#x} is not all RAM")]
    NotRam {
        /// Which part.
        what: &'static str,
        /// Guest-physical address.
        address: u64,
    },
    /// The available index is further ahead than the queue is long.
    #[error("the available index jumped from {from} to {to} in a queue of {size}")]
    IndexJump {
        /// What the device takes next.
        from: u16,
        /// What the driver wrote.
        to: u16,
        /// Descriptors of the queue.
        size: u16,
    },
    /// The available ring names a descriptor that is not there.
    #[error("a chain begins at descriptor {head} in a queue of {size}")]
    Head {
        /// The descriptor.
        head: u16,
        /// Descriptors of the queue.
        size: u16,
    },
    /// A descriptor names a next one that is not there.
    #[error("descriptor {index} goes on at {next} in a table of {len}")]
    Next {
        /// The descriptor.
        index: u16,
        /// Where it goes on.
        next: u16,
        /// Descriptors of the table.
        len: u32,
    },
    /// More descriptors than the queue has: a loop.
    #[error("the chain at descriptor {head} has more than the {size} descriptors of the queue")]
    TooLong {
        /// Where it begins.
        head: u16,
        /// Descriptors of the queue.
        size: u16,
    },
    /// An element without bytes.
    #[error("descriptor {index} is of length 0")]
    ZeroLength {
        /// The descriptor.
        index: u16,
    },
    /// More than 2^32 bytes under one identifier.
    #[error("the buffer's {bytes} bytes are more than 2^32")]
    TooManyBytes {
        /// The sum up to the descriptor at which it is too large.
        bytes: u64,
    },
    /// What the device reads stands in front of what it writes.
    #[error("descriptor {index} is readable behind a writable one")]
    ReadableBehindWritable {
        /// The descriptor.
        index: u16,
    },
    /// An indirect table that was not agreed on.
    #[error("descriptor {index} is indirect, but the feature was not negotiated")]
    IndirectNotNegotiated {
        /// The descriptor.
        index: u16,
    },
    /// A table in a table.
    #[error("descriptor {index} of an indirect table is indirect")]
    IndirectInIndirect {
        /// The descriptor.
        index: u16,
    },
    /// A table with more behind it; in a packed ring, also with something in front.
    #[error("descriptor {index} is indirect in a chain")]
    IndirectInChain {
        /// The descriptor.
        index: u16,
    },
    /// No whole number of descriptors, none, or more than can be reached.
    #[error("an indirect table of {len} bytes: not 1 to {most} descriptors of 16")]
    IndirectLength {
        /// Bytes of the table.
        len: u32,
        /// The most descriptors.
        most: u32,
    },
    /// Made available while the device still has it.
    #[error("buffer {id} was made available while the device has it")]
    InUse {
        /// The buffer.
        id: u16,
    },
    /// More descriptors made available than the ring has free.
    #[error("{descriptors} descriptors made available while the device has {held} of {size}")]
    Overrun {
        /// Those of the new buffer.
        descriptors: u16,
        /// Those that the device has not given back.
        held: u16,
        /// Descriptors of the queue.
        size: u16,
    },
    /// A descriptor in a packed chain with the wrong AVAIL and USED bits for its lap.
    #[error("descriptor {index} of a chain is not available on this lap")]
    NotAvailable {
        /// The descriptor.
        index: u16,
    },
    /// Event suppression with a reserved value, or with one that was not negotiated.
    #[error("event suppression flags {flags} are reserved")]
    EventFlags {
        /// The flags.
        flags: u16,
    },
    /// Event suppression with a descriptor that is not there.
    #[error("an event at descriptor {offset} in a queue of {size}")]
    EventOffset {
        /// The descriptor.
        offset: u16,
        /// Descriptors of the queue.
        size: u16,
    },
    /// The device gave back what it has given back already, or never had.
    #[error("buffer {id} was given back, but the device does not have it")]
    NotInUse {
        /// The buffer.
        id: u16,
    },
    /// A buffer that is smaller than the device's own protocol says.
    #[error("buffer {id} ends after {len} bytes, {wanted} are needed")]
    Short {
        /// The buffer.
        id: u16,
        /// Its bytes, readable or writable.
        len: u64,
        /// Bytes needed.
        wanted: u64,
    },
}
