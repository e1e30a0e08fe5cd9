//! Structures and constants of the network device: virtio 1.3, 5.1, by their names there.

use bitfield_struct::bitfield;

/// Feature bits (5.1.3): those that this device can offer. Bit 0 is VIRTIO_NET_F_CSUM.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Features {
    /// VIRTIO_NET_F_CSUM: the device takes partial checksums.
    pub csum: bool,
    /// VIRTIO_NET_F_GUEST_CSUM: the driver does.
    pub guest_csum: bool,
    /// VIRTIO_NET_F_CTRL_GUEST_OFFLOADS: the driver can change its mind about what it takes.
    pub ctrl_guest_offloads: bool,
    /// VIRTIO_NET_F_MTU: the configuration has a maximum MTU.
    pub mtu: bool,
    __: bool,
    /// VIRTIO_NET_F_MAC: the configuration has an address.
    pub mac: bool,
    __: bool,
    /// VIRTIO_NET_F_GUEST_TSO4.
    pub guest_tso4: bool,
    /// VIRTIO_NET_F_GUEST_TSO6.
    pub guest_tso6: bool,
    /// VIRTIO_NET_F_GUEST_ECN.
    pub guest_ecn: bool,
    __: bool,
    /// VIRTIO_NET_F_HOST_TSO4.
    pub host_tso4: bool,
    /// VIRTIO_NET_F_HOST_TSO6.
    pub host_tso6: bool,
    /// VIRTIO_NET_F_HOST_ECN.
    pub host_ecn: bool,
    __: bool,
    /// VIRTIO_NET_F_MRG_RXBUF: a frame can be spread over several buffers.
    pub mrg_rxbuf: bool,
    /// VIRTIO_NET_F_STATUS: the configuration has the state of the link.
    pub status: bool,
    /// VIRTIO_NET_F_CTRL_VQ: there is a control queue.
    pub ctrl_vq: bool,
    /// VIRTIO_NET_F_CTRL_RX: it takes receive filters.
    pub ctrl_rx: bool,
    #[bits(2)]
    __: u8,
    /// VIRTIO_NET_F_GUEST_ANNOUNCE: the driver announces itself to the network when it is asked to.
    pub guest_announce: bool,
    /// VIRTIO_NET_F_MQ: several pairs of queues.
    pub mq: bool,
    /// VIRTIO_NET_F_CTRL_MAC_ADDR: the control queue takes an address.
    pub ctrl_mac_addr: bool,
    #[bits(30)]
    __: u32,
    /// VIRTIO_NET_F_GUEST_USO4.
    pub guest_uso4: bool,
    /// VIRTIO_NET_F_GUEST_USO6.
    pub guest_uso6: bool,
    /// VIRTIO_NET_F_HOST_USO.
    pub host_uso: bool,
    #[bits(7)]
    __: u8,
}

/// `status` of `virtio_net_config`.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Status {
    /// VIRTIO_NET_S_LINK_UP.
    pub link_up: bool,
    /// VIRTIO_NET_S_ANNOUNCE.
    pub announce: bool,
    #[bits(14)]
    __: u16,
}

/// Bytes of `virtio_net_hdr` (5.1.6), as all drivers have it that do not negotiate hashes or tunnels.
pub const HEADER_LEN: u8 = 12;
/// The same of a legacy driver without VIRTIO_NET_F_MRG_RXBUF (5.1.6.1): it ends before `num_buffers`.
pub const LEGACY_HEADER_LEN: u8 = 10;
/// Where `gso_type` stands in it.
pub const GSO_TYPE: u32 = 1;
/// Where `num_buffers` stands in it.
pub const NUM_BUFFERS: u64 = 10;
/// VIRTIO_NET_HDR_GSO_ECN; alone it is no type.
pub const GSO_ECN: u8 = 0x80;

/// Bytes of the longest frame when the other end may leave segments uncut (5.1.6.3).
pub const LONGEST_FRAME: u64 = 65589;
/// Bytes of a frame beside its MTU: an Ethernet header with a VLAN tag.
pub const ETHERNET: u64 = 18;

/// The least MTU (5.1.4.1): that of IPv6.
pub const LEAST_MTU: u16 = 1280;

/// Commands of the control queue (5.1.6.5): class and command.
pub mod command {
    #![expect(missing_docs, reason = "the specification's names")]

    pub const RX_PROMISC: (u8, u8) = (0, 0);
    pub const RX_ALLMULTI: (u8, u8) = (0, 1);
    pub const MAC_TABLE_SET: (u8, u8) = (1, 0);
    pub const MAC_ADDR_SET: (u8, u8) = (1, 1);
    pub const ANNOUNCE_ACK: (u8, u8) = (3, 0);
    pub const MQ_VQ_PAIRS_SET: (u8, u8) = (4, 0);
    pub const GUEST_OFFLOADS_SET: (u8, u8) = (5, 0);
}

/// `ack` of `virtio_net_ctrl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ack {
    /// VIRTIO_NET_OK.
    Ok = 0,
    /// VIRTIO_NET_ERR.
    Err = 1,
}
