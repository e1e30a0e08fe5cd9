//! The host's side of a guest's socket device, as UNIX sockets in Firecracker's layout.
//!
//! A program that wants port P of the guest connects to the device's path and sends `CONNECT P\n`; when the guest
//! takes the connection it gets `OK H\n`, where H is the port that the guest sees, and from then on the bytes are
//! the guest's. When the guest connects to port P of the host, it gets the program that listens at the path `PATH_P`.
//!
//! | piece | runs in |
//! |---|---|
//! | [`Listener`], [`PathConnector`], [`ConnectServer`] | the process that knows paths |
//! | [`Host`], [`RemoteConnector`] | the process of the VM |

mod connector;
mod events;
mod handshake;
mod host;
mod listener;
mod remote;
mod stream;
#[cfg(test)]
mod tests;

pub use connector::{Answer, Connector, PathConnector};
pub use host::{Host, MAX_HANDSHAKES, MAX_STREAMS, WINDOW};
pub use listener::{ListenError, Listener};
pub use remote::{ConnectServer, RemoteConnector};
