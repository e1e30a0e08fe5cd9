//! Saved state of the console.

use serde::{Deserialize, Serialize};
use trivisor_buses::RestoreError;

use super::port::{MAX_BACKLOG, MAX_BUFFER, MAX_INPUT, Owed, Port};

/// Name of the device in saved state.
pub(super) const KIND: &str = "virtio-console";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleStateV1 {
    /// The driver is ready.
    pub active: bool,
    /// Its ports.
    pub ports: Vec<PortStateV1>,
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStateV1 {
    /// The driver was told of it, or is to be.
    pub added: bool,
    /// The driver has set it up.
    pub ready: bool,
    /// Somebody is there in the guest.
    pub guest_open: bool,
    /// Somebody is there on the host.
    pub host_open: bool,
    /// Messages that are to be sent, a bit each.
    pub owed: u8,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// Bytes of the next buffer of output that have gone.
    pub sent: u32,
    /// What the guest is to get.
    pub input: Vec<u8>,
    /// What has not gone yet.
    pub backlog: Vec<u8>,
}

impl From<&Port> for PortStateV1 {
    fn from(port: &Port) -> Self {
        Self {
            added: port.added,
            ready: port.ready,
            guest_open: port.guest_open,
            host_open: port.host_open,
            owed: port.owed.into_bits(),
            cols: port.size.cols,
            rows: port.size.rows,
            sent: port.sent,
            input: port.input.iter().copied().collect(),
            backlog: port.backlog.iter().copied().collect(),
        }
    }
}

impl ConsoleStateV1 {
    /// Checks it for a console of `ports` ports.
    pub(super) fn check(&self, ports: usize) -> Result<(), RestoreError> {
        let check = |field, value, right| RestoreError::check(KIND, field, value, right);
        let count = self.ports.len();
        check("ports", count as u64, count == ports)?;
        for port in &self.ports {
            let PortStateV1 {
                added,
                ready,
                owed,
                sent,
                input,
                backlog,
                ..
            } = port;
            check("ready", u64::from(*ready), *added || !*ready)?;
            check("owed", u64::from(*owed), *owed & !Owed::ALL == 0)?;
            check("sent", u64::from(*sent), u64::from(*sent) <= MAX_BUFFER)?;
            check("input", input.len() as u64, input.len() <= MAX_INPUT)?;
            let len = backlog.len();
            check("backlog", len as u64, len <= MAX_BACKLOG)?;
        }
        Ok(())
    }
}

impl PortStateV1 {
    /// Puts a checked state into `port`.
    pub(super) fn put_back(self, port: &mut Port) {
        port.added = self.added;
        port.ready = self.ready;
        port.guest_open = self.guest_open;
        port.host_open = self.host_open;
        port.owed = Owed::from_bits(self.owed);
        port.size.cols = self.cols;
        port.size.rows = self.rows;
        port.sent = self.sent;
        port.input = self.input.into();
        port.backlog = self.backlog.into();
    }
}
