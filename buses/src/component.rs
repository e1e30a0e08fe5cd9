//! The life of a component: started, paused, reset, saved, restored.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// One component's saved state: what kind, in which version, and the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedState {
    /// The chip, for example `uart-16550`.
    pub kind: &'static str,
    /// Version of the layout of `data`; a released one is never changed.
    pub version: u16,
    /// A struct of plain integers in postcard's encoding.
    pub data: Vec<u8>,
}

/// Saved state that cannot be put back. The component is as it was before.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// State of another chip.
    #[error("state of {found} offered to {wanted}")]
    Kind {
        /// This component.
        wanted: &'static str,
        /// What came.
        found: &'static str,
    },
    /// A version that this build does not know.
    #[error("{kind}: version {found} of its state is not known, the newest is {newest}")]
    Version {
        /// The component.
        kind: &'static str,
        /// What came.
        found: u16,
        /// The newest version known.
        newest: u16,
    },
    /// The bytes are no state of this version.
    #[error("{kind}: its state cannot be decoded")]
    Decode {
        /// The component.
        kind: &'static str,
    },
    /// A field holds what the chip cannot have.
    #[error("{kind}: {field} = {value:#x} is impossible")]
    Field {
        /// The component.
        kind: &'static str,
        /// The field of its state.
        field: &'static str,
        /// What it held.
        value: u64,
    },
}

impl RestoreError {
    /// Fails with [`RestoreError::Field`] unless `right`: how a state is checked field by field.
    ///
    /// # Errors
    /// When the field holds what the chip cannot have.
    pub const fn check(
        kind: &'static str,
        field: &'static str,
        value: u64,
        right: bool,
    ) -> Result<(), Self> {
        if right {
            Ok(())
        } else {
            Err(Self::Field { kind, field, value })
        }
    }
}

impl SavedState {
    /// Encodes `state`, a struct of plain integers and byte vectors.
    ///
    /// # Panics
    /// Never: encoding such a struct into memory cannot fail.
    #[must_use]
    pub fn encode(kind: &'static str, version: u16, state: &impl Serialize) -> Self {
        let data = postcard::to_allocvec(state);
        #[expect(
            clippy::expect_used,
            reason = "postcard fails only on sequences of unknown length and full buffers"
        )]
        let data = data.expect("plain integers always encode");
        Self {
            kind,
            version,
            data,
        }
    }

    /// Decodes the state of `kind` in `version`, which must be the whole of the data.
    ///
    /// # Errors
    /// When kind, version or bytes are others.
    pub fn decode<T: DeserializeOwned>(
        &self,
        kind: &'static str,
        version: u16,
    ) -> Result<T, RestoreError> {
        if self.kind != kind {
            return Err(RestoreError::Kind {
                wanted: kind,
                found: self.kind,
            });
        }
        if self.version != version {
            return Err(RestoreError::Version {
                kind,
                found: self.version,
                newest: version,
            });
        }
        match postcard::take_from_bytes(&self.data) {
            Ok((state, [])) => Ok(state),
            _ => Err(RestoreError::Decode { kind }),
        }
    }
}

/// What every chip on a board can do. The machine is stopped, all vCPUs outside the guest, while
/// `reset`, `save` or `restore` runs.
pub trait Component: Send {
    /// Begins work: called once before the guest's first instruction and after each pause.
    fn start(&mut self) {}

    /// Returns when the work that was under way has ended.
    fn pause(&mut self) {}

    /// Power-on state, as the datasheet's reset column says.
    fn reset(&mut self);

    /// The guest-visible state.
    fn save(&self) -> SavedState;

    /// Puts a saved state back; lines get their levels without an edge.
    ///
    /// # Errors
    /// When the state does not pass its checks; the component is then untouched.
    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError>;
}
