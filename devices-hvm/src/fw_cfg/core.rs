//! The device as a value: the item selected and how far it was read.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::config::Items;
use super::regs::key;

/// Selector and position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Items by their keys.
    items: Arc<BTreeMap<u16, Arc<[u8]>>>,
    /// Key that was selected last.
    pub(super) key: u16,
    /// Bytes that were taken from it; more than it has when it was stepped over.
    pub(super) position: u32,
}

impl Selection {
    pub(super) fn new(items: &Items) -> Self {
        Self {
            items: Arc::new(items.table()),
            key: key::SIGNATURE,
            position: 0,
        }
    }

    /// After reset: the signature is selected.
    pub(super) fn reset(&mut self) {
        self.select(key::SIGNATURE);
    }

    /// Selects the item of `key`, from its first byte on.
    pub fn select(&mut self, key: u16) {
        (self.key, self.position) = (key, 0);
    }

    /// What is left of the item.
    fn rest(&self) -> &[u8] {
        let item = self.items.get(&self.key).map_or(&[][..], |item| item);
        let position = usize::try_from(self.position).unwrap_or(usize::MAX);
        item.get(position..).unwrap_or_default()
    }

    /// Fills `data` with the next bytes; behind the end of an item, and where there is none, come zeros.
    pub fn take(&mut self, data: &mut [u8]) {
        let mut rest = self.rest().iter();
        data.fill_with(|| rest.next().copied().unwrap_or(0));
        self.skip(u32::try_from(data.len()).unwrap_or(u32::MAX));
    }

    /// Steps over bytes.
    pub fn skip(&mut self, bytes: u32) {
        self.position = self.position.saturating_add(bytes);
    }
}
