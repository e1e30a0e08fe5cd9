//! Console device: terminals, and channels between programs of the guest and the host.
//!
//! Source: OASIS, Virtual I/O Device (VIRTIO) Version 1.3, 5.3.
//!
//! | feature | offered | |
//! |---|---|---|
//! | SIZE | always | 0 columns and rows until the host knows better |
//! | MULTIPORT | unless there is but one port, a console without a name | |
//! | EMERG_WRITE | always | its character goes where port 0's output goes |
//!
//! | message | from the driver | from the device |
//! |---|---|---|
//! | DEVICE_READY | 1: each port is added | |
//! | DEVICE_ADD | | for each port, once |
//! | PORT_READY | 1: the port is told of; 0: it is left alone | |
//! | CONSOLE_PORT, PORT_NAME | | when the port is ready, if it is one, if it has one |
//! | RESIZE | | for a console, when it is ready with a known size and when that changes; columns first |
//! | PORT_OPEN | the guest takes input | whether the host is there |
//!
//! Messages to the driver are kept as what it is still to be told, not as a list: a driver without buffers for them
//! costs nothing, and is told of the latest state.
//!
//! **Input** waits in the port, [`MAX_INPUT`] bytes at most, until the guest has opened the port and has buffers; what
//! there is no room for stays with the host. Without MULTIPORT port 0 is open.
//!
//! **Output** never waits for the host. When a console's output is full, [`MAX_BACKLOG`] bytes are kept and further ones
//! are lost, as behind a serial port: Linux waits for each buffer with interrupts off. Of other ports the buffer stays in
//! the ring with what of it has not gone, which is for the driver to wait for. What is behind the first [`MAX_BUFFER`]
//! bytes of a buffer, or goes to a port that is closed on the host, is lost. All that is lost is counted.
//!
//! A buffer for input or messages without a byte to write to, or too small for a message, cannot be used: the device
//! then needs a reset.
//!
//! **Not modelled**: ports that come and go (DEVICE_REMOVE).
//!
//! **Relied on by**: Linux (`virtio_console`), the `virtio-drivers` crate.

mod config;
mod input;
mod port;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use trivisor_buses::{AccessError, RestoreError, SavedState};
use trivisor_virtio_device::{Chain, DeviceType, Io, QueueError, VirtioDevice, read_config_bytes};

pub use self::config::{ConsoleError, MAX_NAME, MAX_PORTS, PortConfig};
pub use self::input::ConsoleInput;
pub use self::port::{MAX_BACKLOG, MAX_BUFFER, MAX_INPUT};
use self::port::{Owed, Port, QUEUE_SIZE};
pub use self::regs::Size;
use self::regs::{CONTROL_RECEIVE, CONTROL_TRANSMIT, Control, Event, Features};
pub use self::state::{ConsoleStateV1, PortStateV1};

/// What became of bytes and messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConsoleCounters {
    /// Bytes that the guest got.
    pub input: u64,
    /// Bytes that the outputs took.
    pub output: u64,
    /// Bytes of the guest that were lost.
    pub output_dropped: u64,
    /// Messages of the driver that say nothing: too short, unknown, of no port.
    pub bad_messages: u64,
}

/// A console of one port or several.
#[derive(Debug)]
pub struct Console {
    // Configuration.
    offered: Features,
    queue_sizes: Vec<u16>,
    // Guest-visible state, and wiring of each port.
    ports: Vec<Port>,
    /// The driver is ready: there are buffers that may be used.
    active: bool,
    // Work.
    /// Guest RAM stands still until the next turn.
    paused: bool,
    chain: Chain,
    counters: ConsoleCounters,
}

/// What a queue is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Receive(usize),
    Transmit(usize),
    ControlReceive,
    ControlTransmit,
}

impl Role {
    fn of(queue: u16) -> Self {
        let port = usize::from(if queue < 2 { 0 } else { queue / 2 - 1 });
        match queue {
            CONTROL_RECEIVE => Self::ControlReceive,
            CONTROL_TRANSMIT => Self::ControlTransmit,
            _ if queue.is_multiple_of(2) => Self::Receive(port),
            _ => Self::Transmit(port),
        }
    }
}

impl Console {
    /// A console of these ports; the guest knows them by their places.
    ///
    /// # Errors
    /// When they are too many, or a name cannot be told.
    pub fn new(ports: Vec<PortConfig>) -> Result<Self, ConsoleError> {
        config::check(&ports)?;
        let offered = config::features(&ports);
        let queues = if offered.multiport() {
            2 * ports.len() + 2
        } else {
            2
        };
        Ok(Self {
            offered,
            queue_sizes: vec![QUEUE_SIZE; queues],
            ports: ports.into_iter().map(Port::new).collect(),
            active: false,
            paused: false,
            chain: Chain::default(),
            counters: ConsoleCounters::default(),
        })
    }

    /// Offers bytes to the guest's end of `port`; how many were taken.
    pub fn push(&mut self, port: usize, bytes: &[u8], io: &mut Io<'_>) -> usize {
        let taken = self.ports.get_mut(port).map_or(0, |port| port.push(bytes));
        self.deliver(port, io);
        taken
    }

    /// Bytes that [`push`](Self::push) would take now.
    #[must_use]
    pub fn room(&self, port: usize) -> usize {
        self.ports.get(port).map_or(0, Port::room)
    }

    /// The output of `port`, which took less than it was given, has room again.
    pub fn output_ready(&mut self, port: usize, io: &mut Io<'_>) {
        if let Some(port) = self.ports.get_mut(port) {
            port.drain(&mut self.counters);
        }
        self.transmit(port, io);
    }

    /// The terminal behind `port` has another size.
    pub fn resize(&mut self, port: usize, size: Size, io: &mut Io<'_>) {
        let Some(found) = self.ports.get_mut(port) else {
            return;
        };
        if std::mem::replace(&mut found.size, size) == size {
            return;
        }
        found.owed.set_resize(found.ready && found.console);
        if port == 0 {
            io.config_changed();
        }
        self.send_messages(io);
    }

    /// Somebody has come to the host's end of `port`, or has gone. At first it is open; no reset changes that.
    pub fn set_host_open(&mut self, port: usize, open: bool, io: &mut Io<'_>) {
        let Some(found) = self.ports.get_mut(port) else {
            return;
        };
        if std::mem::replace(&mut found.host_open, open) == open {
            return;
        }
        found.owed.set_open(found.ready);
        self.send_messages(io);
        self.transmit(port, io);
    }

    /// Somebody is at the guest's end of `port`, as the driver says.
    #[must_use]
    pub fn is_guest_open(&self, port: usize) -> bool {
        self.ports.get(port).is_some_and(|port| port.guest_open)
    }

    /// What became of bytes and messages so far.
    #[must_use]
    pub const fn counters(&self) -> ConsoleCounters {
        self.counters
    }

    /// Whether buffers may be used.
    const fn works(&self) -> bool {
        self.active && !self.paused
    }

    fn deliver(&mut self, index: usize, io: &mut Io<'_>) {
        let multiport = multiport(io);
        let works = self.works();
        let Some((port, number)) = port_at(&mut self.ports, index) else {
            return;
        };
        let open = if multiport {
            port.guest_open
        } else {
            index == 0
        };
        if works && open {
            let queue = regs::receive_queue(number);
            port.deliver(queue, &mut self.chain, io, &mut self.counters);
        }
    }

    fn transmit(&mut self, index: usize, io: &mut Io<'_>) {
        let multiport = multiport(io);
        let works = self.works();
        let Some((port, number)) = port_at(&mut self.ports, index) else {
            return;
        };
        if works && (multiport || index == 0) {
            let queue = regs::receive_queue(number) + 1;
            // What there is but one of is used as a console.
            let drops = port.console || !multiport;
            port.transmit(queue, drops, &mut self.chain, io, &mut self.counters);
        }
    }

    /// Tells the driver what it is to be told, as far as it has buffers.
    fn send_messages(&mut self, io: &mut Io<'_>) {
        if !self.works() || !multiport(io) {
            return;
        }
        let queue = CONTROL_RECEIVE;
        let mut used = false;
        io.want_notifications(queue, false);
        for (id, port) in (0..).zip(&mut self.ports) {
            while let Some(event) = port.owed.first() {
                let mut found = io.pop(queue, &mut self.chain);
                while !found && io.want_notifications(queue, true) {
                    io.want_notifications(queue, false);
                    found = io.pop(queue, &mut self.chain);
                }
                if !found {
                    break;
                }
                match write_message(port, id, event, &self.chain, io) {
                    Ok(len) => io.push(queue, self.chain.id(), len),
                    Err(error) => io.fail(queue, error),
                }
                port.owed = port.owed.without_first();
                used = true;
            }
        }
        if used {
            io.publish(queue);
        }
    }

    /// Takes what the driver says. No buffer goes back before the end, so they are no more than the queue has.
    fn take_messages(&mut self, io: &mut Io<'_>) {
        let queue = CONTROL_TRANSMIT;
        let mut left = QUEUE_SIZE;
        io.want_notifications(queue, false);
        loop {
            while left > 0 && io.pop(queue, &mut self.chain) {
                left -= 1;
                let mut bytes = [0; Control::LEN];
                if self.chain.readable_len() < Control::LEN as u64 {
                    self.counters.bad_messages += 1;
                } else if let Err(error) = self.chain.read(io.ram(), 0, &mut bytes) {
                    io.fail(queue, error);
                    break;
                } else {
                    self.take_message(Control::parse(bytes));
                }
                io.push(queue, self.chain.id(), 0);
            }
            if !io.want_notifications(queue, true) || left == 0 {
                break;
            }
        }
        if left < QUEUE_SIZE {
            io.publish(queue);
        }
        self.send_messages(io);
        (0..self.ports.len()).for_each(|port| self.deliver(port, io));
    }

    fn take_message(&mut self, message: Control) {
        let Control { id, event, value } = message;
        if event == Event::DEVICE_READY {
            for port in self
                .ports
                .iter_mut()
                .filter(|port| value != 0 && !port.added)
            {
                port.added = true;
                port.owed.set_add(true);
            }
            return;
        }
        let port = usize::try_from(id)
            .ok()
            .and_then(|id| self.ports.get_mut(id));
        match (port.filter(|port| port.added), event) {
            (Some(port), Event::PORT_READY) => {
                let ready = value != 0;
                if ready && !port.ready {
                    port.owed = Owed::new()
                        .with_add(port.owed.add())
                        .with_console(port.console)
                        .with_resize(port.console && port.size != Size::default())
                        .with_name(!port.name.is_empty())
                        .with_open(port.host_open);
                }
                port.ready = ready;
            }
            (Some(port), Event::PORT_OPEN) => port.guest_open = value != 0,
            _ => self.counters.bad_messages += 1,
        }
    }

    fn serve_all(&mut self, io: &mut Io<'_>) {
        self.send_messages(io);
        for port in 0..self.ports.len() {
            self.transmit(port, io);
            self.deliver(port, io);
        }
    }
}

fn multiport(io: &Io<'_>) -> bool {
    Features::from_bits(io.features()).multiport()
}

/// A port with its number as queues count.
fn port_at(ports: &mut [Port], index: usize) -> Option<(&mut Port, u16)> {
    ports.get_mut(index).zip(u16::try_from(index).ok())
}

/// Writes one message; its length.
fn write_message(
    port: &Port,
    id: u32,
    event: Event,
    chain: &Chain,
    io: &Io<'_>,
) -> Result<u32, QueueError> {
    let size = port.size.to_bytes();
    let (value, more) = match event {
        Event::CONSOLE_PORT => (1, &[][..]),
        Event::PORT_OPEN => (port.host_open.into(), &[][..]),
        Event::RESIZE => (0, &size[..]),
        Event::PORT_NAME => (1, port.name.as_bytes()),
        _ => (0, &[][..]),
    };
    let head = Control { id, event, value }.to_bytes();
    chain.write(io.ram(), 0, &head)?;
    chain.write(io.ram(), head.len() as u64, more)?;
    // A name is bounded.
    Ok(u32::try_from(head.len() + more.len()).unwrap_or(0))
}

impl VirtioDevice for Console {
    fn device_type(&self) -> DeviceType {
        DeviceType::Console
    }

    fn features(&self) -> u64 {
        self.offered.into_bits()
    }

    fn in_order(&self) -> bool {
        true
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.queue_sizes
    }

    fn read_config(&self, offset: usize, data: &mut [u8]) {
        let size = self.ports.first().map(|port| port.size).unwrap_or_default();
        let ports = u32::try_from(self.ports.len()).unwrap_or(u32::MAX);
        let space = config::space(size, ports);
        read_config_bytes(&space, offset, data);
    }

    fn write_config(
        &mut self,
        offset: usize,
        data: &[u8],
        _io: &mut Io<'_>,
    ) -> Result<(), AccessError> {
        // 5.3.5.1: whether or not anything was set up, and its low byte.
        let (regs::config::EMERG_WR, [character, ..]) = (offset, data) else {
            return Err(AccessError::ReadOnly);
        };
        if let Some(port) = self.ports.first_mut() {
            port.put(&[*character], true, &mut self.counters);
        }
        Ok(())
    }

    fn activate(&mut self, io: &mut Io<'_>) {
        self.active = true;
        self.paused = false;
        self.serve_all(io);
    }

    fn notify(&mut self, queue: u16, io: &mut Io<'_>) {
        self.paused = false;
        match Role::of(queue) {
            Role::Receive(port) => self.deliver(port, io),
            Role::Transmit(port) => self.transmit(port, io),
            Role::ControlReceive => self.send_messages(io),
            Role::ControlTransmit if multiport(io) => self.take_messages(io),
            Role::ControlTransmit => {}
        }
    }

    fn wake(&mut self, io: &mut Io<'_>) -> bool {
        self.paused = false;
        self.serve_all(io);
        false
    }

    fn pause(&mut self, io: &mut Io<'_>) {
        let _nothing_under_way = io;
        self.paused = true;
    }

    fn stop(&mut self, queue: Option<u16>, io: &mut Io<'_>) {
        // No buffer is held between two calls. One that went out in part does not come back from a reset.
        let _nothing_under_way = io;
        for (number, port) in (0..).zip(&mut self.ports) {
            if queue.is_none_or(|queue| queue == regs::receive_queue(number) + 1) {
                port.sent = 0;
            }
        }
    }

    fn reset(&mut self) {
        self.active = false;
        self.paused = false;
        self.ports.iter_mut().for_each(Port::reset);
    }

    fn save(&self) -> SavedState {
        let state = ConsoleStateV1 {
            active: self.active,
            ports: self.ports.iter().map(PortStateV1::from).collect(),
        };
        SavedState::encode(state::KIND, state::VERSION, &state)
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let state: ConsoleStateV1 = state.decode(state::KIND, state::VERSION)?;
        state.check(self.ports.len())?;
        self.active = state.active;
        self.paused = true;
        for (port, state) in self.ports.iter_mut().zip(state.ports) {
            state.put_back(port);
        }
        Ok(())
    }
}
