//! Network card.
//!
//! Source: OASIS, Virtual I/O Device (VIRTIO) Version 1.3, 5.1.
//!
//! | feature | offered | |
//! |---|---|---|
//! | CSUM, GUEST_CSUM, CTRL_GUEST_OFFLOADS | when the cables do checksums | partial checksums pass through |
//! | HOST_ and GUEST_TSO4, TSO6, ECN, USO | when the cables do them | so do uncut segments |
//! | MTU | when the options have one | longer frames from outside are dropped |
//! | MQ | with more than one cable | a pair of queues a cable |
//! | MAC, STATUS, MRG_RXBUF | always | |
//! | CTRL_VQ, CTRL_RX, CTRL_MAC_ADDR, GUEST_ANNOUNCE | always | see below |
//!
//! | command | effect |
//! |---|---|
//! | RX_PROMISC, RX_ALLMULTI, MAC_TABLE_SET | checked, and none: every frame is received |
//! | MAC_ADDR_SET | another address in the configuration |
//! | ANNOUNCE_ACK | VIRTIO_NET_S_ANNOUNCE falls |
//! | MQ_VQ_PAIRS_SET | so many pairs are used; at first one |
//! | GUEST_OFFLOADS_SET | the cables are told what the driver takes |
//! | all others, and those of a wrong length | VIRTIO_NET_ERR |
//!
//! Receive filters are best-effort in the specification (5.1.6.5.1 and 5.1.6.5.2: "unwanted packets could still
//! arrive", and a device may silently be promiscuous). What stands behind a cable, a bridge or passt, sends a guest what
//! is meant for it, so a look at each frame would cost more than it spares.
//!
//! A legacy driver, without VERSION_1, writes the address into the configuration (5.1.4.3), and knows a header of 10 bytes
//! unless it negotiates MRG_RXBUF (5.1.6.1): the cables are told, and one that cannot have it loses frames.
//!
//! Each cable is served even when the driver uses fewer pairs, for the host's side of it spreads frames over all: cable
//! k leads to receive queue k modulo the pairs in use, and transmit queue k to cable k.
//!
//! With the link down the guest's frames are lost, and those from outside wait or are lost in the cable. One for which the
//! driver has added too few buffers waits in the device, and is part of its saved state: then, and only then, of version 2.
//!
//! **Not modelled**: VLAN filters, CTRL_RX_EXTRA, receive-side scaling and hashes, coalescing of notifications, speed
//! and duplex, UFO, tunnels, statistics, standby.
//!
//! **Relied on by**: Linux (`virtio_net`), the `virtio-drivers` crate.

mod config;
mod control;
mod link;
mod receive;
pub mod regs;
mod state;
mod transmit;

#[cfg(test)]
mod tests;

use trivisor_buses::{AccessError, Packets, RestoreError, SavedState};
use trivisor_virtio_device::{Chain, DeviceType, Feature, Io, VirtioDevice, read_config_bytes};

pub use self::config::{MAX_PAIRS, NetError, NetOptions};
use self::receive::{Pause, Receiver, Shape};
use self::regs::{ETHERNET, Features, HEADER_LEN, LEGACY_HEADER_LEN, LONGEST_FRAME};
pub use self::state::{NetStateV1, NetStateV2, WaitingV2};
use self::transmit::Transmitter;

/// Descriptors of the control queue.
const CONTROL_SIZE: u16 = 64;
/// Frames from one cable that are a fair share of a wake-up.
const SHARE: u32 = 256;
/// Rings full of frames that are received at once while the driver adds buffers meanwhile.
const RINGS: u32 = 16;

/// What became of frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetCounters {
    /// Frames that the cable took.
    pub sent: u64,
    /// Frames of the guest that were lost: without a link, without a byte behind the header, refused by the cable.
    pub send_dropped: u64,
    /// Frames that the guest got.
    pub received: u64,
    /// Frames that were lost: empty, too long for the guest's buffers, or still waiting for some at a reset.
    pub receive_dropped: u64,
    /// Errors of the cable.
    pub receive_errors: u64,
    /// Offloads that the cable did not take back or give.
    pub offload_errors: u64,
    /// Turns without frames, as the cable cannot have the driver's header.
    pub header_errors: u64,
}

/// A network card with a cable a pair of queues.
pub struct Net {
    // Configuration.
    options: NetOptions,
    offered: Features,
    has_header: bool,
    queue_sizes: Vec<u16>,
    // Wiring.
    cables: Vec<Box<dyn Packets>>,
    // Guest-visible state.
    state: NetStateV1,
    /// Of all cables.
    cables_up: bool,
    /// Bytes of the header that the cables have been told of.
    header: u8,
    // Work, none of it across a pause.
    receivers: Vec<Receiver>,
    transmitters: Vec<Transmitter>,
    chain: Chain,
    counters: NetCounters,
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net")
            .field("options", &self.options)
            .field("state", &self.state)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Net {
    /// A card with these cables, a pair of queues each.
    ///
    /// # Errors
    /// When options or cables are none that a card can have.
    pub fn new(options: NetOptions, cables: Vec<Box<dyn Packets>>) -> Result<Self, NetError> {
        options.check(&cables)?;
        let offered = options.features(cables.len(), config::shared_offloads(&cables));
        let mut queue_sizes = vec![options.queue_size; 2 * cables.len()];
        queue_sizes.push(CONTROL_SIZE);
        let has_header = cables.iter().all(|cable| cable.has_header());
        let size = options.queue_size;
        let queues = (0..).step_by(2).take(cables.len());
        let mut net = Self {
            offered,
            has_header,
            queue_sizes,
            receivers: queues.clone().map(|at| Receiver::new(at, size)).collect(),
            transmitters: queues.map(|at| Transmitter::new(at + 1, size)).collect(),
            cables,
            state: NetStateV1::new(options.mac),
            cables_up: true,
            header: HEADER_LEN,
            chain: Chain::default(),
            counters: NetCounters::default(),
            options,
        };
        net.cables_up = net.look_at_cables();
        Ok(net)
    }

    /// What became of frames so far.
    #[must_use]
    pub const fn counters(&self) -> NetCounters {
        self.counters
    }

    /// Pairs of queues in use; restored state is checked, so there are so many.
    fn used(&self) -> usize {
        usize::from(self.state.pairs)
    }

    /// 5.1.2: it stands behind all pairs that there can be.
    fn control_queue(&self, features: Features) -> u16 {
        let pairs = if features.mq() { self.cables.len() } else { 1 };
        u16::try_from(2 * pairs).unwrap_or(u16::MAX)
    }

    /// Has the cables use the driver's header; false when they cannot.
    fn fit_header(&mut self, features: u64) -> bool {
        let merges = Features::from_bits(features).mrg_rxbuf();
        let wanted = if merges || Feature::Version1.is_in(features) {
            HEADER_LEN
        } else {
            LEGACY_HEADER_LEN
        };
        if self.header == wanted {
            return true;
        }
        if self.has_header {
            let mut cables = self.cables.iter_mut();
            if cables.any(|cable| cable.set_header(wanted).is_err()) {
                self.counters.header_errors += 1;
                return false;
            }
        }
        self.header = wanted;
        true
    }

    fn shape(&self, features: Features) -> Shape {
        let takes = config::guest_offloads(Features::from_bits(self.state.guest_offloads));
        let uncut = takes.tso4 || takes.tso6 || takes.uso;
        let mtu = self.options.mtu.filter(|_| features.mtu());
        let longest_whole = mtu.map_or(LONGEST_FRAME, |mtu| u64::from(mtu) + ETHERNET);
        Shape {
            merge: features.mrg_rxbuf(),
            has_header: self.has_header,
            header: self.header,
            longest: if uncut { LONGEST_FRAME } else { longest_whole },
            longest_whole,
        }
    }

    fn transmit(&mut self, index: usize, io: &mut Io<'_>) {
        let up = self.link_is_up() && self.fit_header(io.features());
        let cable = self.cables.get_mut(index).filter(|_| up);
        if let Some(transmitter) = self.transmitters.get_mut(index) {
            transmitter.transmit(cable, self.header, io, &mut self.counters);
        }
    }

    /// Receives up to `most` frames from each cable that leads to receive queue `to`; true when there may be more.
    fn receive(&mut self, to: usize, most: u32, io: &mut Io<'_>) -> bool {
        let up = self.link_is_up() && self.fit_header(io.features());
        let shape = self.shape(Features::from_bits(io.features()));
        let used = self.used();
        let Some(receiver) = self.receivers.get_mut(to).filter(|_| up) else {
            return false;
        };
        receiver.hungry = false;
        let mut more = false;
        for cable in self.cables.iter_mut().skip(to).step_by(used.max(1)) {
            match receiver.receive(cable.as_mut(), shape, most, io, &mut self.counters) {
                Pause::Empty => {}
                Pause::Enough => more = true,
                Pause::Starved => break,
            }
        }
        receiver.hungry |= more;
        receiver.publish(io);
        more
    }

    fn receive_all(&mut self, most: u32, io: &mut Io<'_>) -> bool {
        (0..self.used()).fold(false, |more, to| self.receive(to, most, io) | more)
    }

    /// Receives where the device is not woken again for what it leaves: the driver has to ring when it adds buffers.
    fn receive_alone(&mut self, to: usize, io: &mut Io<'_>) {
        let queue = self.receivers.get(to).map_or(0, Receiver::queue);
        for ring in 1..=RINGS {
            let more = self.receive(to, self.options.queue_size.into(), io);
            if !more || !io.want_notifications(queue, true) || ring == RINGS {
                break;
            }
            io.want_notifications(queue, false);
        }
    }
}

impl VirtioDevice for Net {
    fn device_type(&self) -> DeviceType {
        DeviceType::Network
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
        let pairs = u16::try_from(self.cables.len()).unwrap_or(u16::MAX);
        let space = self.options.space(self.state.mac, self.status(), pairs);
        read_config_bytes(&space, offset, data);
    }

    fn write_config(
        &mut self,
        offset: usize,
        data: &[u8],
        io: &mut Io<'_>,
    ) -> Result<(), AccessError> {
        // Since version 1 there is a command for it.
        if Feature::Version1.is_in(io.features()) {
            return Err(AccessError::ReadOnly);
        }
        let part = self.state.mac.get_mut(offset..);
        let part = part.and_then(|rest| rest.get_mut(..data.len()));
        part.ok_or(AccessError::ReadOnly)?.copy_from_slice(data);
        Ok(())
    }

    fn activate(&mut self, io: &mut Io<'_>) {
        self.state.guest_offloads =
            config::switchable(Features::from_bits(io.features())).into_bits();
        self.accept_offloads();
        // What came before the driver was ready waits.
        let control = self.control_queue(Features::from_bits(io.features()));
        let queues = self.receivers.iter().map(Receiver::queue);
        for queue in queues.take_while(|queue| *queue < control) {
            io.want_notifications(queue, false);
        }
        (0..self.used()).for_each(|to| self.receive_alone(to, io));
        self.refresh_cables(io);
    }

    // By bells, and so on another thread, frames go at most a quarter faster, at twice the host's CPU time for each.
    fn wants_bells(&self) -> bool {
        false
    }

    fn notify(&mut self, queue: u16, io: &mut Io<'_>) {
        if queue == self.control_queue(Features::from_bits(io.features())) {
            self.control(queue, io);
            return;
        }
        let index = usize::from(queue / 2);
        if index >= self.used() {
            return;
        }
        if queue % 2 == 1 {
            self.transmit(index, io);
            self.refresh_cables(io);
        } else if let Some(receiver) = self.receivers.get_mut(index) {
            receiver.refilled();
            io.want_notifications(queue, false);
            if receiver.hungry {
                self.receive_alone(index, io);
            }
        }
    }

    fn wake(&mut self, io: &mut Io<'_>) -> bool {
        for index in 0..self.used() {
            if let Some(transmitter) = self.transmitters.get_mut(index)
                && std::mem::take(&mut transmitter.blocked)
            {
                self.transmit(index, io);
            }
        }
        let more = self.receive_all(SHARE, io);
        self.refresh_cables(io);
        more
    }

    fn pause(&mut self, io: &mut Io<'_>) {
        self.stop(None, io);
    }

    fn stop(&mut self, queue: Option<u16>, io: &mut Io<'_>) {
        for receiver in &mut self.receivers {
            if queue.is_none_or(|queue| queue == receiver.queue()) {
                receiver.give_back(io);
            }
        }
    }

    fn reset(&mut self) {
        let link_up = self.state.link_up;
        self.state = NetStateV1 {
            link_up,
            ..NetStateV1::new(self.options.mac)
        };
        self.accept_offloads();
        for receiver in &mut self.receivers {
            self.counters.receive_dropped += u64::from(receiver.lose_waiting());
            receiver.forget();
        }
        for transmitter in &mut self.transmitters {
            transmitter.blocked = false;
        }
    }

    fn save(&self) -> SavedState {
        let waiting = self.receivers.iter().filter_map(|receiver| {
            let (queue, frame) = (receiver.queue(), receiver.waiting()?.to_vec());
            Some(WaitingV2 { queue, frame })
        });
        let waiting: Vec<_> = waiting.collect();
        if waiting.is_empty() {
            return SavedState::encode(state::KIND, state::VERSION, &self.state);
        }
        let first = self.state;
        let state = NetStateV2 { first, waiting };
        SavedState::encode(state::KIND, state::VERSION_WITH_FRAMES, &state)
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let state: NetStateV2 = if state.version == state::VERSION {
            let first: NetStateV1 = state.decode(state::KIND, state::VERSION)?;
            first.into()
        } else {
            state.decode(state::KIND, state::VERSION_WITH_FRAMES)?
        };
        state.check(self.cables.len(), config::switchable(self.offered))?;
        let NetStateV2 { first, waiting } = state;
        self.state = first;
        for receiver in &mut self.receivers {
            let mut waiting = waiting.iter();
            let frame = waiting.find(|frame| frame.queue == receiver.queue());
            receiver.put_back(frame.map(|frame| frame.frame.as_slice()));
        }
        self.accept_offloads();
        Ok(())
    }
}
