//! What stands behind an entropy device: random bytes.

use std::io;

use crate::segment::Segment;

/// Random bytes that are fit for keys. No method waits.
pub trait Entropy: Send {
    /// Fills the segments from the front; the bytes that were written, which may be fewer than all: the device
    /// asks again, or gives the driver what there is.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: there are none yet. Others: what the host said.
    fn fill(&mut self, into: &[Segment]) -> io::Result<usize>;
}
