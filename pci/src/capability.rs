//! The list of capabilities (PCI 3.0, 6.7).

use crate::config::{ConfigError, ConfigSpace, SIZE};
use crate::regs::{Status, offset};

impl ConfigSpace {
    /// Adds a capability to the end of the list, which starts at 0x40, and returns its offset. `body` and
    /// `writable`, a mask of the bits that a guest can write, start behind identifier and link.
    ///
    /// # Errors
    /// When there is no room left.
    pub fn add_capability(
        &mut self,
        id: u8,
        body: &[u8],
        writable: &[u8],
    ) -> Result<u8, ConfigError> {
        let len = 2 + body.len().max(writable.len());
        let no_room = ConfigError::NoRoom { id, len };
        let end = usize::from(self.free) + len;
        let at = u8::try_from(self.free).map_err(|_| no_room)?;
        if end > SIZE {
            return Err(no_room);
        }
        self.define(at, &[id, 0], &[])?;
        self.define(at + 2, body, writable)?;
        self.fix(self.link, &[at]);
        self.fix(offset::STATUS, &HAS_CAPABILITIES);
        self.link = at + 1;
        self.free = u16::try_from(end.next_multiple_of(4)).map_err(|_| no_room)?;
        Ok(at)
    }

    /// Offset of the first capability with this identifier.
    #[must_use]
    pub fn capability(&self, id: u8) -> Option<u8> {
        let [mut at] = self.get(offset::CAPABILITIES);
        // A list that was built here ends; its links only grow.
        while at != 0 {
            let [found, next] = self.get(at);
            if found == id {
                return Some(at);
            }
            at = next;
        }
        None
    }
}

const HAS_CAPABILITIES: [u8; 2] = Status::new()
    .with_capabilities(true)
    .into_bits()
    .to_le_bytes();
