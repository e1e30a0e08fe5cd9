//! What a network card is made with, and its configuration space.

use thiserror::Error;
use trivisor_buses::{Offloads, Packets};

use super::regs::{Features, LEAST_MTU, Status};

/// Pairs of queues at most: with the control queue, 63 queues.
pub const MAX_PAIRS: usize = 31;

/// The options of a network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetOptions {
    /// Its address, until the guest sets another.
    pub mac: [u8; 6],
    /// The maximum MTU, if the guest is to be told one: at least 1280. Frames from outside that are longer are dropped.
    pub mtu: Option<u16>,
    /// The largest size of a receive or transmit queue: a power of two, 32768 at most.
    pub queue_size: u16,
}

/// Options or cables that no network card can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NetError {
    /// A cable a pair of queues: 1 to 31.
    #[error("a network card has 1 to {MAX_PAIRS} pairs of queues, not {pairs}")]
    Pairs {
        /// What was asked for.
        pairs: usize,
    },
    /// A group's address, or all zeros.
    #[error("{mac:02x?} is no address of a network card: it is a group's, or 0")]
    Mac {
        /// The address.
        mac: [u8; 6],
    },
    /// Below the least of IPv6.
    #[error("an MTU of {mtu} is below {LEAST_MTU}")]
    Mtu {
        /// The MTU.
        mtu: u16,
    },
    /// No size of a queue.
    #[error("a queue size of {size} is no power of two from 1 to 32768")]
    QueueSize {
        /// The size.
        size: u16,
    },
    /// Some with a virtio-net header in front of their frames, and some without.
    #[error("the cables of one network card differ in their frames' header")]
    Headers,
}

impl NetOptions {
    /// With this address, no MTU told, and queues of 256.
    #[must_use]
    pub const fn new(mac: [u8; 6]) -> Self {
        Self {
            mac,
            mtu: None,
            queue_size: 256,
        }
    }

    pub(super) fn check(&self, cables: &[Box<dyn Packets>]) -> Result<(), NetError> {
        let Self {
            mac,
            mtu,
            queue_size,
        } = *self;
        let pairs = cables.len();
        if !(1..=MAX_PAIRS).contains(&pairs) {
            return Err(NetError::Pairs { pairs });
        }
        let [first, ..] = mac;
        if first & 1 == 1 || mac == [0; 6] {
            return Err(NetError::Mac { mac });
        }
        if let Some(mtu) = mtu.filter(|mtu| *mtu < LEAST_MTU) {
            return Err(NetError::Mtu { mtu });
        }
        if !queue_size.is_power_of_two() {
            return Err(NetError::QueueSize { size: queue_size });
        }
        let with_header = cables.iter().filter(|cable| cable.has_header()).count();
        if with_header != 0 && with_header != pairs {
            return Err(NetError::Headers);
        }
        Ok(())
    }

    /// What the card offers on such cables.
    pub(super) const fn features(&self, pairs: usize, offloads: Offloads) -> Features {
        let Offloads {
            checksum,
            tso4,
            tso6,
            ecn,
            uso,
        } = offloads;
        // 5.1.3.1: none of the others without checksums, and ECN only with TCP.
        let (tso4, tso6, uso) = (checksum && tso4, checksum && tso6, checksum && uso);
        let ecn = ecn && (tso4 || tso6);
        Features::new()
            .with_mac(true)
            .with_mtu(self.mtu.is_some())
            .with_status(true)
            .with_mrg_rxbuf(true)
            .with_ctrl_vq(true)
            .with_ctrl_rx(true)
            .with_ctrl_mac_addr(true)
            .with_guest_announce(true)
            .with_mq(pairs > 1)
            .with_ctrl_guest_offloads(checksum)
            .with_csum(checksum)
            .with_host_tso4(tso4)
            .with_host_tso6(tso6)
            .with_host_ecn(ecn)
            .with_host_uso(uso)
            .with_guest_csum(checksum)
            .with_guest_tso4(tso4)
            .with_guest_tso6(tso6)
            .with_guest_ecn(ecn)
            .with_guest_uso4(uso)
            .with_guest_uso6(uso)
    }

    /// `virtio_net_config` (5.1.4), up to the last field that is offered.
    pub(super) fn space(&self, mac: [u8; 6], status: Status, pairs: u16) -> [u8; 12] {
        let [a, b, c, d, e, f] = mac;
        let [g, h] = status.into_bits().to_le_bytes();
        // A field whose feature is not offered does not exist, and reads 0.
        let [i, j] = if pairs > 1 { pairs } else { 0 }.to_le_bytes();
        let [k, l] = self.mtu.unwrap_or(0).to_le_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

/// What all of the cables can.
pub(super) fn shared_offloads(cables: &[Box<dyn Packets>]) -> Offloads {
    let all = |can: fn(Offloads) -> bool| cables.iter().all(|cable| can(cable.offloads()));
    let header = cables.iter().all(|cable| cable.has_header());
    Offloads {
        checksum: header && all(|can| can.checksum),
        tso4: header && all(|can| can.tso4),
        tso6: header && all(|can| can.tso6),
        ecn: header && all(|can| can.ecn),
        uso: header && all(|can| can.uso),
    }
}

/// The offloads of `features` that the driver takes; a driver that breaks the rules of 5.1.3.1 takes less.
pub(super) const fn guest_offloads(features: Features) -> Offloads {
    let checksum = features.guest_csum();
    let (tso4, tso6) = (
        checksum && features.guest_tso4(),
        checksum && features.guest_tso6(),
    );
    Offloads {
        checksum,
        tso4,
        tso6,
        ecn: features.guest_ecn() && (tso4 || tso6),
        uso: checksum && features.guest_uso4() && features.guest_uso6(),
    }
}

/// The bits of `features` that GUEST_OFFLOADS_SET can switch (5.1.6.5.6.1).
pub(super) const fn switchable(features: Features) -> Features {
    Features::new()
        .with_guest_csum(features.guest_csum())
        .with_guest_tso4(features.guest_tso4())
        .with_guest_tso6(features.guest_tso6())
        .with_guest_ecn(features.guest_ecn())
        .with_guest_uso4(features.guest_uso4())
        .with_guest_uso6(features.guest_uso6())
}
