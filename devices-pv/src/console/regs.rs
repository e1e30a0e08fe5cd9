//! Structures and constants of the console: virtio 1.3, 5.3, by their names there.

use bitfield_struct::bitfield;

/// Feature bits (5.3.3).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Features {
    /// VIRTIO_CONSOLE_F_SIZE: the configuration has the size of port 0.
    pub size: bool,
    /// VIRTIO_CONSOLE_F_MULTIPORT: there are control queues, and more ports behind them.
    pub multiport: bool,
    /// VIRTIO_CONSOLE_F_EMERG_WRITE: a character can be written without a queue.
    pub emerg_write: bool,
    #[bits(61)]
    __: u64,
}

/// Where the fields of `virtio_console_config` stand (5.3.4).
pub mod config {
    /// `cols`, 2 bytes; `rows` stands behind it.
    pub const COLS: usize = 0;
    /// `max_nr_ports`, 4 bytes.
    pub const MAX_NR_PORTS: usize = 4;
    /// `emerg_wr`, 4 bytes; written only.
    pub const EMERG_WR: usize = 8;
    /// Bytes of all.
    pub const LEN: usize = 12;
}

/// The control receiveq, to the driver.
pub const CONTROL_RECEIVE: u16 = 2;
/// The control transmitq, from the driver.
pub const CONTROL_TRANSMIT: u16 = 3;

/// The receiveq of a port; its transmitq is the next one (5.3.2).
#[must_use]
pub const fn receive_queue(port: u16) -> u16 {
    if port == 0 { 0 } else { 2 * port + 2 }
}

/// The `event` of a control message (5.3.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event(pub u16);

impl Event {
    /// VIRTIO_CONSOLE_DEVICE_READY: the driver takes messages.
    pub const DEVICE_READY: Self = Self(0);
    /// VIRTIO_CONSOLE_DEVICE_ADD: there is a port.
    pub const DEVICE_ADD: Self = Self(1);
    /// VIRTIO_CONSOLE_PORT_READY: the driver has set the port up.
    pub const PORT_READY: Self = Self(3);
    /// VIRTIO_CONSOLE_CONSOLE_PORT: the port is a console.
    pub const CONSOLE_PORT: Self = Self(4);
    /// VIRTIO_CONSOLE_RESIZE: columns and rows follow.
    pub const RESIZE: Self = Self(5);
    /// VIRTIO_CONSOLE_PORT_OPEN: somebody is there, or not any more; from either side.
    pub const PORT_OPEN: Self = Self(6);
    /// VIRTIO_CONSOLE_PORT_NAME: the name follows.
    pub const PORT_NAME: Self = Self(7);
}

/// `virtio_console_control`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// Port number.
    pub id: u32,
    /// What happened.
    pub event: Event,
    /// What else is to be known of it.
    pub value: u16,
}

impl Control {
    /// Its bytes.
    pub const LEN: usize = 8;

    /// From the driver's bytes.
    #[must_use]
    pub const fn parse([i0, i1, i2, i3, e0, e1, v0, v1]: [u8; Self::LEN]) -> Self {
        Self {
            id: u32::from_le_bytes([i0, i1, i2, i3]),
            event: Event(u16::from_le_bytes([e0, e1])),
            value: u16::from_le_bytes([v0, v1]),
        }
    }

    /// As the driver reads it.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        let [i0, i1, i2, i3] = self.id.to_le_bytes();
        let [e0, e1] = self.event.0.to_le_bytes();
        let [v0, v1] = self.value.to_le_bytes();
        [i0, i1, i2, i3, e0, e1, v0, v1]
    }
}

/// Columns and rows of a port; 0 is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

impl Size {
    /// `virtio_console_resize`.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 4] {
        let [c0, c1] = self.cols.to_le_bytes();
        let [r0, r1] = self.rows.to_le_bytes();
        [c0, c1, r0, r1]
    }
}
