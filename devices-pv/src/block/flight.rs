//! The requests that the storage has.

/// What is kept of a request until its end. Its data is the storage's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pending {
    /// Where it came from.
    pub(super) queue: u16,
    /// What the queue calls it.
    pub(super) id: u16,
    /// Bytes that are written from the front on when it succeeds.
    pub(super) done: u32,
    /// And when it fails.
    pub(super) failed: u32,
    /// Guest-physical address of its status.
    pub(super) status: u64,
    /// It is a write whose end the driver takes for stable: a flush follows.
    pub(super) flush: bool,
}

/// All of them. It never grows: a queue holds no more requests than it has descriptors.
#[derive(Debug)]
pub(super) struct Flight {
    slots: Vec<Option<Pending>>,
    free: Vec<usize>,
}

impl Flight {
    /// For `most` requests.
    pub(super) fn new(most: usize) -> Self {
        Self {
            slots: vec![None; most],
            free: (0..most).rev().collect(),
        }
    }

    pub(super) const fn most(&self) -> usize {
        self.slots.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// What the storage is to call the request; `None` when there is no room.
    pub(super) fn insert(&mut self, pending: Pending) -> Option<u64> {
        let at = self.free.pop()?;
        *self.slots.get_mut(at)? = Some(pending);
        Some(at as u64)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Pending> {
        self.slots.get_mut(usize::try_from(id).ok()?)?.as_mut()
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Pending> {
        let at = usize::try_from(id).ok()?;
        let pending = self.slots.get_mut(at)?.take()?;
        self.free.push(at);
        Some(pending)
    }

    /// One that is left, taken out.
    pub(super) fn remove_any(&mut self) -> Option<Pending> {
        let at = self.slots.iter().position(Option::is_some)?;
        self.remove(at as u64)
    }
}

/// A set of queues by number, up to 63.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct QueueSet(u64);

impl QueueSet {
    pub(super) const fn of(queue: u16) -> Self {
        let mut set = Self(0);
        set.insert(queue);
        set
    }

    pub(super) const fn insert(&mut self, queue: u16) {
        self.0 |= Self::bit(queue);
    }

    pub(super) const fn remove(&mut self, queue: u16) {
        self.0 &= !Self::bit(queue);
    }

    /// Takes the lowest out.
    pub(super) const fn pop(&mut self) -> Option<u16> {
        if self.0 == 0 {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a bit's number is below 64"
        )]
        let queue = self.0.trailing_zeros() as u16;
        self.remove(queue);
        Some(queue)
    }

    const fn bit(queue: u16) -> u64 {
        if queue < 64 { 1 << queue } else { 0 }
    }
}
