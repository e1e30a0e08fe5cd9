//! A board: which chips, at which addresses, on which lines.

use std::error::Error;

use crate::routing::RouteError;
use crate::slots::Slots;

/// Puts the chips of a machine into [`Slots`].
///
/// A mode is a board and nothing else. Who wants a fourth mode implements this trait and hands the
/// board to the VMM; no other code asks which mode it runs.
pub trait Board {
    /// Fits every chip; reads like the back page of a motherboard manual.
    ///
    /// # Errors
    /// When two chips collide or one cannot be made.
    fn fit(self, slots: &mut Slots) -> Result<(), FitError>;
}

/// A board that does not fit together.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// Addresses collide or do not exist.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// A chip cannot be made as it was asked for.
    #[error("{chip} cannot be fitted")]
    Chip {
        /// The chip's name.
        chip: &'static str,
        /// Why.
        #[source]
        reason: Box<dyn Error + Send + Sync>,
    },
}

impl FitError {
    /// Turns the reason for which `chip` cannot be made into a [`FitError`].
    pub fn chip<E: Error + Send + Sync + 'static>(chip: &'static str) -> impl FnOnce(E) -> Self {
        move |reason| Self::Chip {
            chip,
            reason: Box::new(reason),
        }
    }
}
