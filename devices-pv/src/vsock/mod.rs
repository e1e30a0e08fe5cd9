//! Socket device: streams between programs of the guest and of the host.
//!
//! Source: OASIS, Virtual I/O Device (VIRTIO) Version 1.3, 5.10.
//!
//! | feature | offered |
//! |---|---|
//! | STREAM, NO_IMPLIED_STREAM | always; a driver that accepts neither has streams as well (5.10.3.2) |
//! | SEQPACKET | never: a UNIX stream behind it has no messages |
//!
//! | packet of the guest | effect |
//! |---|---|
//! | REQUEST | the host is asked for a stream to the port; RESPONSE, or RST |
//! | RESPONSE | to our REQUEST: the program's stream is open |
//! | RW | its data goes to the stream |
//! | SHUTDOWN | ends directions of the stream; RST, when both have ended |
//! | CREDIT_REQUEST | CREDIT_UPDATE |
//! | CREDIT_UPDATE | as every packet, tells what the guest can take |
//! | RST | ends the connection, unanswered |
//! | of no connection, of another type, to another host | RST |
//! | of a connection in which it makes no sense: an unknown operation, data beyond the credit or the buffer, data after SHUTDOWN, a second REQUEST | RST, the connection ends |
//! | from another guest | dropped |
//!
//! A packet without a whole header, or a buffer for packets that has no room for one or that is not RAM: the device needs
//! a reset.
//!
//! The device keeps no packets. What a connection owes the guest is a set of bits, and data waits in its stream; so all
//! of it can wait for buffers. The one list, of RSTs for packets of no connection, is bounded: when it is full, the
//! driver's packets wait (5.10.6.1). Connections take turns, a packet each.
//!
//! A connection whose stream has ended in both directions waits for the guest to end it: without a clock there is no
//! time-out. It takes one of 1024 places, which a reset frees.
//!
//! Programs that ask for a stream are seen by the guest at ports from 2^30 on, each at another.
//!
//! **Saved state**: no connections. They are cut off by a restore, and the guest hears of it by the event
//! VIRTIO_VSOCK_EVENT_TRANSPORT_RESET. Those of a machine that goes on after it was saved stay.
//!
//! **Not modelled**: sequenced packets, datagrams, guests that speak with each other.
//!
//! **Relied on by**: Linux (`vmw_vsock_virtio_transport`), the `virtio-drivers` crate.

mod config;
mod core;
mod events;
mod ports;
mod receive;
pub mod regs;
mod state;
mod table;
mod transmit;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use trivisor_buses::{RestoreError, SavedState, Segment, StreamHost};
use trivisor_virtio_device::{Chain, DeviceType, Io, VirtioDevice, read_config_bytes};

pub use self::config::{VsockError, VsockOptions};
use self::ports::Ports;
use self::regs::{EVENT, EVENT_LEN, Features, Header, RX, TRANSPORT_RESET, TX};
pub use self::state::VsockStateV1;
pub use self::table::MAX_CONNECTIONS;
use self::table::Table;

/// RSTs for packets of no connection that wait for a buffer at most.
pub const MAX_REFUSALS: usize = 64;

/// Descriptors of the event queue.
const EVENT_SIZE: u16 = 16;
/// Packets to the guest that are a fair share of a wake-up.
const SHARE: u32 = 256;
/// Events that are.
const SHARE_OF_EVENTS: u32 = 64;
/// Events at most in a turn that is no wake-up: what the host tells at once is among them, and what comes later wakes.
const MOST_EVENTS: u32 = 1024;

/// What became of packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VsockCounters {
    /// Packets that the guest got.
    pub to_guest: u64,
    /// Bytes of data in them.
    pub bytes_to_guest: u64,
    /// Packets that it sent.
    pub from_guest: u64,
    /// Bytes of data that streams took.
    pub bytes_from_guest: u64,
    /// Connections that were reset or refused by this side.
    pub resets: u64,
    /// Packets with another guest's address.
    pub foreign: u64,
}

/// A socket device.
pub struct Vsock {
    // Configuration.
    options: VsockOptions,
    queue_sizes: [u16; 3],
    // Wiring.
    host: Box<dyn StreamHost>,
    // Guest-visible state.
    ports: Ports,
    /// The event is still to be sent.
    reset_owed: bool,
    table: Table,
    /// For packets of no connection.
    refusals: VecDeque<Header>,
    // Work.
    /// The driver's next packet waits until there is room for a refusal.
    blocked: bool,
    /// The host may have something to tell about what it was asked.
    asked_host: bool,
    chain: Chain,
    segments: Vec<Segment>,
    counters: VsockCounters,
}

impl std::fmt::Debug for Vsock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vsock")
            .field("options", &self.options)
            .field("connections", &self.table.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Vsock {
    /// A device with this host behind it.
    ///
    /// # Errors
    /// When the options are none that it can have.
    pub fn new(options: VsockOptions, host: Box<dyn StreamHost>) -> Result<Self, VsockError> {
        options.check()?;
        Ok(Self {
            queue_sizes: [options.queue_size, options.queue_size, EVENT_SIZE],
            options,
            host,
            ports: Ports::new(),
            reset_owed: false,
            table: Table::default(),
            refusals: VecDeque::with_capacity(MAX_REFUSALS),
            blocked: false,
            asked_host: false,
            chain: Chain::default(),
            segments: Vec::new(),
            counters: VsockCounters::default(),
        })
    }

    /// What became of packets so far.
    #[must_use]
    pub const fn counters(&self) -> VsockCounters {
        self.counters
    }

    /// Connections, with those that are being made or ended.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.table.len()
    }

    /// Looks at the driver's packets, or at those that waited once there is room for answers, and sends up to `most`; true
    /// when more are due.
    fn serve(&mut self, mut look: bool, most: u32, io: &mut Io<'_>) -> bool {
        let mut to_guest = most;
        let mut from_guest = u32::from(self.options.queue_size);
        loop {
            if look {
                self.transmit(&mut from_guest, io);
            }
            if std::mem::take(&mut self.asked_host) {
                self.take_events(MOST_EVENTS);
            }
            self.deliver(&mut to_guest, io);
            look = self.blocked && self.refusals.len() < MAX_REFUSALS && from_guest > 0;
            if !look || io.outcome().broken.is_some() {
                break;
            }
        }
        io.publish(TX);
        io.publish(RX);
        to_guest == 0 && self.is_due()
    }

    /// Sends the event, if it is owed and there is a buffer.
    fn send_event(&mut self, io: &mut Io<'_>) {
        if !self.reset_owed || !io.pop(EVENT, &mut self.chain) {
            return;
        }
        let event = TRANSPORT_RESET.to_le_bytes();
        if let Err(error) = self.chain.write(io.ram(), 0, &event) {
            io.fail(EVENT, error);
            return;
        }
        self.reset_owed = false;
        io.push(EVENT, self.chain.id(), EVENT_LEN);
        io.publish(EVENT);
    }
}

impl VirtioDevice for Vsock {
    fn device_type(&self) -> DeviceType {
        DeviceType::Socket
    }

    fn features(&self) -> u64 {
        let features = Features::new()
            .with_stream(true)
            .with_no_implied_stream(true);
        features.into_bits()
    }

    fn in_order(&self) -> bool {
        true
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.queue_sizes
    }

    fn read_config(&self, offset: usize, data: &mut [u8]) {
        let space = u64::from(self.options.guest_cid).to_le_bytes();
        read_config_bytes(&space, offset, data);
    }

    fn activate(&mut self, io: &mut Io<'_>) {
        // A driver that comes now has no connections.
        self.reset_owed = false;
        // Programs that came before the driver was ready waited, and their wake-ups were lost.
        self.asked_host = true;
        self.serve(true, self.options.queue_size.into(), io);
    }

    fn notify(&mut self, queue: u16, io: &mut Io<'_>) {
        if queue == EVENT {
            self.send_event(io);
        } else {
            self.serve(queue == TX, self.options.queue_size.into(), io);
        }
    }

    fn wake(&mut self, io: &mut Io<'_>) -> bool {
        let events = self.take_events(SHARE_OF_EVENTS);
        self.serve(false, SHARE, io) || events
    }

    fn stop(&mut self, queue: Option<u16>, io: &mut Io<'_>) {
        // No buffer is held from one turn to the next.
        let _nothing_under_way = (queue, io);
    }

    fn reset(&mut self) {
        self.forget_all();
        self.reset_owed = false;
        self.ports = Ports::new();
    }

    fn save(&self) -> SavedState {
        let next_port = self.ports.next;
        SavedState::encode(state::KIND, state::VERSION, &VsockStateV1 { next_port })
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let state: VsockStateV1 = state.decode(state::KIND, state::VERSION)?;
        state.check()?;
        let VsockStateV1 { next_port } = state;
        self.forget_all();
        self.ports = Ports { next: next_port };
        self.reset_owed = true;
        Ok(())
    }
}
