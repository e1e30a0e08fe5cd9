//! Messages of the vhost-user protocol, as far as a front-end with split rings needs them.
//!
//! Source: QEMU, docs/interop/vhost-user.rst. All fields are little-endian on the hosts that we run on.
//!
//! | message | payload | answer |
//! |---|---|---|
//! | header of each | request: 4, flags: 4, bytes of the payload: 4 | the same, with the flag of an answer |
//! | GET_FEATURES, GET_PROTOCOL_FEATURES, GET_QUEUE_NUM | - | 8 |
//! | SET_FEATURES, SET_PROTOCOL_FEATURES | 8 | - |
//! | SET_OWNER | - | - |
//! | SET_MEM_TABLE | regions: 4, 0: 4; each: guest address, bytes, front-end's address, place in the file: 8; descriptors | - |
//! | SET_VRING_NUM, SET_VRING_BASE, SET_VRING_ENABLE | queue: 4, number: 4 | - |
//! | GET_VRING_BASE | the same | the same |
//! | SET_VRING_ADDR | queue: 4, flags: 4, descriptors, used ring, available ring, log: 8 | - |
//! | SET_VRING_KICK, SET_VRING_CALL | queue: 8; a descriptor | - |
//! | GET_CONFIG | offset: 4, bytes: 4, flags: 4, room | the same, filled |
//! | GET_INFLIGHT_FD, SET_INFLIGHT_FD | bytes, place in the file: 8, queues, descriptors of each: 2, 0: 4; a descriptor | the same; - |
//!
//! With VHOST_USER_PROTOCOL_F_REPLY_ACK a message without an answer gets one if it asks: 8 bytes, 0 for success.

use thiserror::Error;

/// Bytes of a message's header.
pub(super) const HEADER: usize = 12;
/// Bytes of a payload at most: the largest that is used is a configuration.
pub(super) const MAX_PAYLOAD: usize = 512;
/// Bytes of a configuration at most.
pub(super) const MAX_CONFIG: usize = 256;
/// Bytes in front of a configuration's.
pub(super) const CONFIG_HEADER: usize = 12;
/// Bytes that describe an area for what is in flight, with and without what rounds them up.
const INFLIGHT: [usize; 2] = [20, 24];

/// Version, in the flags of every message.
const VERSION: u32 = 1;
const VERSION_MASK: u32 = 3;
/// The message is an answer.
const REPLY: u32 = 1 << 2;
/// The message wants an answer though it has none of its own.
const NEED_REPLY: u32 = 1 << 3;

/// VHOST_USER_F_PROTOCOL_FEATURES, among the features of virtio.
pub(super) const PROTOCOL_FEATURES: u64 = 1 << 30;

/// Bits of GET_PROTOCOL_FEATURES.
pub(super) mod protocol {
    /// VHOST_USER_PROTOCOL_F_MQ: GET_QUEUE_NUM.
    pub(crate) const MQ: u64 = 1 << 0;
    /// VHOST_USER_PROTOCOL_F_REPLY_ACK.
    pub(crate) const REPLY_ACK: u64 = 1 << 3;
    /// VHOST_USER_PROTOCOL_F_CONFIG.
    pub(crate) const CONFIG: u64 = 1 << 9;
    /// VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD.
    pub(crate) const INFLIGHT: u64 = 1 << 12;
}

/// What the front-end asks, by the numbers of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Request {
    GetFeatures = 1,
    SetFeatures = 2,
    SetOwner = 3,
    SetMemTable = 5,
    SetVringNum = 8,
    SetVringAddr = 9,
    SetVringBase = 10,
    GetVringBase = 11,
    SetVringKick = 12,
    SetVringCall = 13,
    GetProtocolFeatures = 15,
    SetProtocolFeatures = 16,
    GetQueueNum = 17,
    SetVringEnable = 18,
    GetConfig = 24,
    GetInflightFd = 31,
    SetInflightFd = 32,
}

impl Request {
    /// Whether it has an answer of its own.
    pub(super) const fn is_answered(self) -> bool {
        matches!(
            self,
            Self::GetFeatures
                | Self::GetVringBase
                | Self::GetProtocolFeatures
                | Self::GetQueueNum
                | Self::GetConfig
                | Self::GetInflightFd
        )
    }
}

/// The descriptors that go with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attached {
    /// None.
    Nothing,
    /// Those of guest RAM.
    Memory,
    /// What the driver rings by.
    Kick(u16),
    /// What the back-end says by that it used buffers.
    Call(u16),
    /// The area for what is in flight.
    Inflight,
}

/// A message to the back-end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) request: Request,
    pub(super) payload: Vec<u8>,
    pub(super) attached: Attached,
}

impl Outgoing {
    pub(super) fn new(request: Request, fields: &[Field], attached: Attached) -> Self {
        let mut payload = Vec::new();
        for field in fields {
            match field {
                Field::U16(value) => payload.extend(value.to_le_bytes()),
                Field::U32(value) => payload.extend(value.to_le_bytes()),
                Field::U64(value) => payload.extend(value.to_le_bytes()),
                Field::Room(bytes) => payload.resize(payload.len() + bytes, 0),
            }
        }
        Self {
            request,
            payload,
            attached,
        }
    }

    /// The whole message. `acknowledge`: it wants an answer though it has none of its own.
    pub(super) fn bytes(&self, acknowledge: bool) -> Vec<u8> {
        let flags = VERSION | if acknowledge { NEED_REPLY } else { 0 };
        let size = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEADER + self.payload.len());
        for field in [self.request as u32, flags, size] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(&self.payload);
        bytes
    }
}

/// A part of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    U16(u16),
    U32(u32),
    U64(u64),
    /// Zeros.
    Room(usize),
}

/// What a back-end says that cannot be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MessageError {
    /// Not the protocol's version, or no answer.
    #[error("flags of {flags:#x}")]
    Flags {
        /// The flags.
        flags: u32,
    },
    /// Longer than any answer.
    #[error("{bytes} bytes of payload")]
    Long {
        /// The length that it announces.
        bytes: u32,
    },
    /// An answer to something else, or to nothing.
    #[error("an answer to request {request}, which was not asked")]
    Unasked {
        /// The request that it names.
        request: u32,
    },
    /// Not the length that such an answer has.
    #[error("an answer of {bytes} bytes to request {request}")]
    Length {
        /// The request.
        request: u32,
        /// Bytes of payload.
        bytes: usize,
    },
    /// It could not do what it was asked to.
    #[error("request {request} failed there")]
    Refused {
        /// The request.
        request: u32,
    },
    /// An answer that names another queue.
    #[error("an answer for queue {queue}")]
    Queue {
        /// The queue.
        queue: u32,
    },
    /// An answer that should have a descriptor and has none.
    #[error("no descriptor with the answer to request {request}")]
    NoDescriptor {
        /// The request.
        request: u32,
    },
}

/// The header of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) request: u32,
    pub(super) len: usize,
}

impl Header {
    pub(super) fn parse(bytes: [u8; HEADER]) -> Result<Self, MessageError> {
        let word = |at: usize| number(&bytes, at, 4).try_into().unwrap_or(u32::MAX);
        let (request, flags, bytes) = (word(0), word(4), word(8));
        if flags & VERSION_MASK != VERSION || flags & REPLY == 0 {
            return Err(MessageError::Flags { flags });
        }
        match usize::try_from(bytes) {
            Ok(len) if len <= MAX_PAYLOAD => Ok(Self { request, len }),
            _ => Err(MessageError::Long { bytes }),
        }
    }
}

/// The number of `len` bytes at `at`; bytes that are not there count as 0.
fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    let bytes = bytes.iter().skip(at).take(len).rev();
    bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What stands in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// One number: features, a count.
    Number(u64),
    /// Done.
    Acknowledged,
    /// A queue's position.
    Base { queue: u32 },
    /// Bytes of a configuration.
    Config(Vec<u8>),
    /// Bytes and place of an area for what is in flight.
    Inflight { size: u64, offset: u64 },
}

impl Answer {
    /// The answer to `request`, which asked for `config` bytes of configuration if it did.
    pub(super) fn parse(
        request: Request,
        header: Header,
        payload: &[u8],
        config: usize,
    ) -> Result<Self, MessageError> {
        let number_of = request as u32;
        if header.request != number_of {
            let request = header.request;
            return Err(MessageError::Unasked { request });
        }
        let length = |right: bool| match right {
            true => Ok(()),
            false => Err(MessageError::Length {
                request: number_of,
                bytes: payload.len(),
            }),
        };
        Ok(match request {
            Request::GetFeatures | Request::GetProtocolFeatures | Request::GetQueueNum => {
                length(payload.len() == 8)?;
                Self::Number(number(payload, 0, 8))
            }
            Request::GetVringBase => {
                length(payload.len() == 8)?;
                let queue = number(payload, 0, 4).try_into().unwrap_or(u32::MAX);
                Self::Base { queue }
            }
            Request::GetConfig => {
                if payload.is_empty() {
                    let request = number_of;
                    return Err(MessageError::Refused { request });
                }
                length(payload.len() == CONFIG_HEADER + config)?;
                Self::Config(payload.get(CONFIG_HEADER..).unwrap_or_default().into())
            }
            Request::GetInflightFd => {
                length(INFLIGHT.contains(&payload.len()))?;
                let (size, offset) = (number(payload, 0, 8), number(payload, 8, 8));
                Self::Inflight { size, offset }
            }
            _ => {
                length(payload.len() == 8)?;
                if number(payload, 0, 8) != 0 {
                    let request = number_of;
                    return Err(MessageError::Refused { request });
                }
                Self::Acknowledged
            }
        })
    }
}
