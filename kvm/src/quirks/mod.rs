//! What a particular kind of host needs. On every other host a quirk costs a comparison with `None`.

pub mod pvm;
pub(crate) mod pvm_frame;
pub(crate) mod window;
