//! Processes: a child that does not outlive its parent, and what it gives up before it meets a guest.

mod descriptors;
mod fork;
mod give_up;

#[cfg(test)]
mod tests;

pub use descriptors::close_all_but;
pub use fork::{Child, ExitStatus, fork};
pub use give_up::{exit_on_bus_error, harden, one_heap};
