//! What stands behind a device whose queues another program of the host serves.

/// A queue that the driver enabled, as who serves it has to know it. It is a split one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServedQueue {
    /// Its number.
    pub index: u16,
    /// Descriptors.
    pub size: u16,
    /// Guest-physical addresses of descriptor table, available ring and used ring.
    pub areas: [u64; 3],
    /// The entry of the available ring that is served next: a free-running index.
    pub base: u16,
}

/// What happened on the server's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerEvent {
    /// Buffers of this queue were used, and their driver wants to hear of it.
    Used(u16),
    /// The configuration has changed.
    Configuration,
    /// The server is there, for the first time or again, and serves nothing yet.
    Back,
    /// The server is gone; it will be looked for.
    Gone,
}

/// Who serves the queues of one device. It has guest RAM by itself. No method waits but [`stop`](Self::stop).
///
/// One descriptor belongs to it, see [`Source`](crate::Source).
pub trait QueueServer: Send {
    /// The features that it can serve, those of its device type and those of chapter 6. They stay.
    fn features(&self) -> u64;

    /// Queues at most.
    fn queues(&self) -> u16;

    /// Its configuration; empty where it has none.
    fn config(&self) -> &[u8];

    /// Whether it is there.
    fn is_there(&self) -> bool;

    /// Serves these queues from now on, with the features that the driver accepted. Without effect while it is not
    /// there: call it again at [`ServerEvent::Back`].
    fn start(&mut self, features: u64, queues: &[ServedQueue]);

    /// The driver rang.
    fn ring(&mut self, queue: u16);

    /// What happened. A device that was woken asks until there is nothing, or comes back for the rest.
    fn next_event(&mut self) -> Option<ServerEvent>;

    /// Returns when it has let go of all queues, and guest RAM stands still. One that does not answer for a second is
    /// gone: nothing can then be said of what it still does.
    fn stop(&mut self);

    /// What it knows of requests under way is void: the driver has reset the device.
    fn forget(&mut self);
}
