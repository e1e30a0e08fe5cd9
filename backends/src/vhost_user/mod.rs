//! Devices whose queues another program of the host serves: the front-end of the vhost-user protocol.
//!
//! Names are known to the control process. It connects to a [`BackEnd`] and asks what it offers before anything is
//! started; the VM's process gets the [`Offer`], makes a [`BackEndQueues`] of it, and asks for a connection by an
//! [`Asker`]: the first one, and another when one breaks. Kicks and calls go by eventfds between guest and back-end.
//!
//! The protocol is spoken by a state machine of our own. The crate `vhost` waits for each answer as long as the
//! back-end likes, which here would be on a vCPU's thread, and spins on a socket that does not block.
//!
//! **Not modelled**: packed queues; the back-end's own requests (a disk that grows is seen with the next connection);
//! the log of dirty pages; hot-plug of memory.
//!
//! **When a back-end is gone**, the guest's requests wait. The next one goes on at the used index. Requests that the one
//! before had finished out of order need its area for what is in flight (VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD), which is
//! kept and handed over where it is offered.

mod asker;
mod back_end;
mod link;
mod message;
mod server;
mod session;
mod virtiofsd;

#[cfg(test)]
mod tests;

pub use asker::Asker;
pub use back_end::{BackEnd, BackEndError};
pub use link::LinkError;
pub use message::MessageError;
pub use server::{BackEndQueues, MAX_QUEUES, ServerError};
pub use session::{Offer, Wanted};
pub use virtiofsd::{Share, ShareError};
