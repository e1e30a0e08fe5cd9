//! The buffers that the device has: popped and not given back.

use std::collections::VecDeque;

use super::QueueError;
use super::state::HeldV1;

/// One of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Buffer {
    /// Its descriptors in the ring; 0 when the driver has it.
    descriptors: u16,
    /// It is finished, with so many bytes written, and waits for its turn.
    written: Option<u32>,
}

/// A buffer that goes back to the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) id: u16,
    pub(super) descriptors: u16,
    pub(super) written: u32,
}

/// All of them. With VIRTIO_F_IN_ORDER what a device finishes too early waits here, so a device need not care.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Flight {
    /// By identifier. A driver may call a packed ring's buffers anything of 16 bits; it pays for large numbers with a
    /// table that grows up to there.
    buffers: Vec<Buffer>,
    in_order: bool,
    /// In the order of going back: all when it is that of coming, else those that are finished.
    order: VecDeque<u16>,
    held: u16,
}

impl Flight {
    pub(super) fn new(size: u16, in_order: bool) -> Self {
        Self {
            buffers: vec![Buffer::default(); size.into()],
            in_order,
            order: VecDeque::with_capacity(size.into()),
            held: 0,
        }
    }

    /// Descriptors of the ring that the device has.
    pub(super) const fn held(&self) -> u16 {
        self.held
    }

    pub(super) const fn is_in_order(&self) -> bool {
        self.in_order
    }

    /// All that the device has, in their order if they have one.
    pub(super) fn held_buffers(&self) -> Vec<HeldV1> {
        let held = |id: u16| {
            let buffer = self.buffers.get(usize::from(id))?;
            let Buffer {
                descriptors,
                written,
            } = *buffer;
            (descriptors != 0).then_some(HeldV1 {
                id,
                descriptors,
                written,
            })
        };
        if self.in_order {
            self.order.iter().copied().filter_map(held).collect()
        } else {
            let ids = (0..=u16::MAX).take(self.buffers.len());
            ids.filter_map(held).collect()
        }
    }

    /// A buffer comes, of one descriptor or more; all together are no more than the ring has.
    pub(super) fn take(&mut self, id: u16, descriptors: u16) -> Result<(), QueueError> {
        let at = usize::from(id);
        if at >= self.buffers.len() {
            self.buffers.resize(at + 1, Buffer::default());
        }
        let buffer = self
            .buffers
            .get_mut(at)
            .filter(|buffer| buffer.descriptors == 0)
            .ok_or(QueueError::InUse { id })?;
        buffer.descriptors = descriptors;
        self.held = self.held.saturating_add(descriptors);
        if self.in_order {
            self.order.push_back(id);
        }
        Ok(())
    }

    /// The last that came is as if it had not; the descriptors that it takes in the ring.
    pub(super) fn untake(&mut self, id: u16) -> Option<u16> {
        let buffer = self.buffers.get_mut(usize::from(id));
        let buffer = buffer.filter(|buffer| buffer.descriptors != 0 && buffer.written.is_none())?;
        if self.in_order {
            self.order.back().filter(|last| **last == id)?;
            self.order.pop_back();
        }
        let descriptors = std::mem::take(buffer).descriptors;
        self.held = self.held.saturating_sub(descriptors);
        Some(descriptors)
    }

    /// The device has finished a buffer.
    pub(super) fn finish(&mut self, id: u16, written: u32) -> Result<(), QueueError> {
        self.buffers
            .get_mut(usize::from(id))
            .filter(|buffer| buffer.descriptors != 0 && buffer.written.is_none())
            .ok_or(QueueError::NotInUse { id })?
            .written = Some(written);
        if !self.in_order {
            self.order.push_back(id);
        }
        Ok(())
    }

    /// The next buffer that goes back.
    pub(super) fn give(&mut self) -> Option<Used> {
        let id = *self.order.front()?;
        let buffer = self.buffers.get_mut(usize::from(id))?;
        let written = buffer.written?;
        let descriptors = std::mem::take(buffer).descriptors;
        self.order.pop_front();
        self.held = self.held.saturating_sub(descriptors);
        Some(Used {
            id,
            descriptors,
            written,
        })
    }
}
