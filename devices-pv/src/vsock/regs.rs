//! Structures and constants of the socket device: virtio 1.3, 5.10, by their names there.

use bitfield_struct::bitfield;

/// Queue of packets to the driver.
pub const RX: u16 = 0;
/// Queue of packets from the driver.
pub const TX: u16 = 1;
/// Queue of events.
pub const EVENT: u16 = 2;

/// The context identifier of the host (5.10.4).
pub const HOST_CID: u64 = 2;

/// Feature bits (5.10.3).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Features {
    /// VIRTIO_VSOCK_F_STREAM: stream sockets.
    pub stream: bool,
    /// VIRTIO_VSOCK_F_SEQPACKET: sockets that keep the bounds of messages. Never offered.
    pub seqpacket: bool,
    /// VIRTIO_VSOCK_F_NO_IMPLIED_STREAM: no stream sockets without their bit.
    pub no_implied_stream: bool,
    #[bits(61)]
    __: u64,
}

/// VIRTIO_VSOCK_TYPE_STREAM.
pub const TYPE_STREAM: u16 = 1;

/// `op` of a packet; others are unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Op(pub u16);

impl Op {
    /// VIRTIO_VSOCK_OP_REQUEST: asks for a connection.
    pub const REQUEST: Self = Self(1);
    /// VIRTIO_VSOCK_OP_RESPONSE: takes it.
    pub const RESPONSE: Self = Self(2);
    /// VIRTIO_VSOCK_OP_RST: ends it, or refuses.
    pub const RST: Self = Self(3);
    /// VIRTIO_VSOCK_OP_SHUTDOWN: ends directions of it.
    pub const SHUTDOWN: Self = Self(4);
    /// VIRTIO_VSOCK_OP_RW: data.
    pub const RW: Self = Self(5);
    /// VIRTIO_VSOCK_OP_CREDIT_UPDATE: tells of buffer space.
    pub const CREDIT_UPDATE: Self = Self(6);
    /// VIRTIO_VSOCK_OP_CREDIT_REQUEST: asks for that.
    pub const CREDIT_REQUEST: Self = Self(7);
}

/// `flags` of SHUTDOWN.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Shutdown {
    /// VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE: the sender of the packet receives no more.
    pub receive: bool,
    /// VIRTIO_VSOCK_SHUTDOWN_F_SEND: it sends no more.
    pub send: bool,
    #[bits(30)]
    __: u32,
}

impl Shutdown {
    /// Both directions.
    #[must_use]
    pub const fn is_both(self) -> bool {
        self.receive() && self.send()
    }
}

/// `virtio_vsock_hdr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Who sends.
    pub src_cid: u64,
    /// To whom.
    pub dst_cid: u64,
    /// From which port.
    pub src_port: u32,
    /// To which port.
    pub dst_port: u32,
    /// Bytes of data behind the header.
    pub len: u32,
    /// `type`: the kind of socket.
    pub kind: u16,
    /// What it is.
    pub op: Op,
    /// Of SHUTDOWN: [`Shutdown`].
    pub flags: u32,
    /// Bytes that the sender keeps for the connection at most.
    pub buf_alloc: u32,
    /// Bytes that it has passed on, modulo 2^32.
    pub fwd_cnt: u32,
}

impl Header {
    /// Bytes.
    pub const LEN: u32 = 44;

    /// From its bytes.
    #[must_use]
    pub fn parse(bytes: [u8; Self::LEN as usize]) -> Self {
        let mut rest = bytes.into_iter();
        let mut next = |len: usize| {
            let field = rest.by_ref().take(len).enumerate();
            field.fold(0, |value, (at, byte)| value | u64::from(byte) << (8 * at))
        };
        Self {
            src_cid: next(8),
            dst_cid: next(8),
            src_port: low(next(4)),
            dst_port: low(next(4)),
            len: low(next(4)),
            kind: lowest(next(2)),
            op: Op(lowest(next(2))),
            flags: low(next(4)),
            buf_alloc: low(next(4)),
            fwd_cnt: low(next(4)),
        }
    }

    /// To its bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN as usize] {
        let fields = [
            (self.src_cid, 8),
            (self.dst_cid, 8),
            (self.src_port.into(), 4),
            (self.dst_port.into(), 4),
            (self.len.into(), 4),
            (self.kind.into(), 2),
            (self.op.0.into(), 2),
            (self.flags.into(), 4),
            (self.buf_alloc.into(), 4),
            (self.fwd_cnt.into(), 4),
        ];
        let mut bytes = [0; Self::LEN as usize];
        let mut rest = bytes.iter_mut();
        for (value, len) in fields {
            for (byte, field) in rest.by_ref().take(len).zip(value.to_le_bytes()) {
                *byte = field;
            }
        }
        bytes
    }
}

#[expect(clippy::cast_possible_truncation, reason = "of a field of 4 bytes")]
const fn low(value: u64) -> u32 {
    value as u32
}

#[expect(clippy::cast_possible_truncation, reason = "of a field of 2 bytes")]
const fn lowest(value: u64) -> u16 {
    value as u16
}

/// Bytes of `virtio_vsock_event`.
pub const EVENT_LEN: u32 = 4;
/// Its `id`: VIRTIO_VSOCK_EVENT_TRANSPORT_RESET.
pub const TRANSPORT_RESET: u32 = 0;
