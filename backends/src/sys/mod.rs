//! System calls that have no safe wrapper: all unsafe code of this crate.

pub(crate) mod batch;
pub(crate) mod buffers;
pub(crate) mod image_file;
pub(crate) mod inherit;
pub(crate) mod read_only;
pub(crate) mod reader;
pub(crate) mod ring;
pub(crate) mod runs;
pub(crate) mod step;
pub(crate) mod tun;
pub(crate) mod vectored;
