//! One connection as the guest sees it: what its packets mean, and which packet it gets next. Virtio 1.3, 5.10.6.

use bitfield_struct::bitfield;
use trivisor_buses::StreamId;

use super::regs::{HOST_CID, Header, Op, Shutdown, TYPE_STREAM};

/// The ports of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) guest: u32,
    pub(super) host: u32,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// A program asked for it, the guest has not answered.
    Asked,
    /// The guest asked for it, no program has answered.
    Connecting,
    /// Data goes in both directions, as far as they have not ended.
    Open,
    /// There is no stream any more. The guest has to hear of it.
    Over,
}

/// Packets that the guest is to get beside data. However much happens, there is no more of them.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub(super) struct Owed {
    pub(super) request: bool,
    pub(super) response: bool,
    pub(super) credit_update: bool,
    pub(super) shutdown: bool,
    #[bits(4)]
    __: u8,
}

/// What the guest gets next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A packet without data.
    Control(Op),
    /// Up to so many bytes of data, at least one, if the stream has any.
    Data(u32),
}

/// A connection.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) key: Key,
    /// Until both directions of it have ended.
    pub(super) stream: Option<StreamId>,
    pub(super) stage: Stage,
    pub(super) owed: Owed,
    /// The stream may have something to read.
    pub(super) readable: bool,
    /// What the guest does no more.
    pub(super) guest_ended: Shutdown,
    /// What the program does no more.
    pub(super) host_ended: Shutdown,
    // Credit that the guest has: bytes that are kept, and those that came from it, went on to the program, and did so
    // as far as it knows.
    window: u32,
    received: u32,
    forwarded: u32,
    told: u32,
    // Credit that it gives: its buffer, bytes that went to it, and those that went on to its program.
    buf_alloc: u32,
    sent: u32,
    fwd_cnt: u32,
    /// It was asked for credit, and has given none since.
    credit_asked: bool,
}

impl Connection {
    pub(super) fn new(key: Key, stream: StreamId, stage: Stage, window: u32) -> Self {
        Self {
            key,
            stream: Some(stream),
            stage,
            owed: Owed::new().with_request(stage == Stage::Asked),
            readable: false,
            guest_ended: Shutdown::new(),
            host_ended: Shutdown::new(),
            window,
            received: 0,
            forwarded: 0,
            told: 0,
            buf_alloc: 0,
            sent: 0,
            fwd_cnt: 0,
            credit_asked: false,
        }
    }

    /// Every packet of the guest tells of its credit.
    pub(super) fn hear(&mut self, header: &Header) {
        self.buf_alloc = header.buf_alloc;
        self.fwd_cnt = header.fwd_cnt;
        if self.credit() > 0 {
            self.credit_asked = false;
        }
    }

    /// Bytes that the guest takes: `peer_free` of 5.10.6.3. None, if its numbers make no sense.
    fn credit(&self) -> u32 {
        let under_way = self.sent.wrapping_sub(self.fwd_cnt);
        self.buf_alloc.saturating_sub(under_way)
    }

    /// The stream took `len` bytes of the guest.
    pub(super) const fn took(&mut self, len: u32) {
        self.received = self.received.wrapping_add(len);
    }

    /// So many bytes went on to the program, modulo 2^32. The guest hears of it before it runs out of credit, but not
    /// of each byte.
    pub(super) fn set_forwarded(&mut self, forwarded: u32) {
        self.forwarded = forwarded;
        let used = self.received.wrapping_sub(self.told);
        if forwarded != self.told && used >= self.window / 2 {
            self.owed.set_credit_update(true);
        }
    }

    /// The program ended a direction. True: it was the last one.
    pub(super) const fn end_host(&mut self, ended: Shutdown) -> bool {
        let before = self.host_ended;
        self.host_ended = Shutdown::from_bits(before.into_bits() | ended.into_bits());
        if self.host_ended.into_bits() != before.into_bits() {
            self.owed.set_shutdown(true);
        }
        self.host_ended.is_both()
    }

    /// The guest ended directions, for good. True: no more are left.
    pub(super) const fn end_guest(&mut self, ended: Shutdown) -> bool {
        self.guest_ended = Shutdown::from_bits(self.guest_ended.into_bits() | ended.into_bits());
        self.guest_ended.is_both()
    }

    /// The packet that is due. Where it is data, there may be none: then the connection is not readable any more, and
    /// something else is due, or nothing.
    pub(super) fn next(&self) -> Option<Next> {
        match self.stage {
            Stage::Asked => self.owed.request().then_some(Next::Control(Op::REQUEST)),
            Stage::Connecting => None,
            Stage::Over => Some(Next::Control(Op::RST)),
            Stage::Open if self.owed.response() => Some(Next::Control(Op::RESPONSE)),
            Stage::Open if self.owed.credit_update() => Some(Next::Control(Op::CREDIT_UPDATE)),
            Stage::Open if self.owed.shutdown() => Some(Next::Control(Op::SHUTDOWN)),
            Stage::Open if !self.readable || self.guest_ended.receive() => None,
            Stage::Open => match self.credit() {
                0 if self.credit_asked => None,
                0 => Some(Next::Control(Op::CREDIT_REQUEST)),
                credit => Some(Next::Data(credit)),
            },
        }
    }

    /// The header of a packet, which is thereby sent.
    pub(super) fn packet(&mut self, op: Op, len: u32, guest_cid: u64) -> Header {
        let mut flags = 0;
        match op {
            Op::REQUEST => self.owed.set_request(false),
            Op::RESPONSE => self.owed.set_response(false),
            Op::SHUTDOWN => {
                self.owed.set_shutdown(false);
                flags = self.host_ended.into_bits();
            }
            Op::CREDIT_UPDATE => self.owed.set_credit_update(false),
            Op::CREDIT_REQUEST => self.credit_asked = true,
            _ => {}
        }
        self.sent = self.sent.wrapping_add(len);
        self.told = self.forwarded;
        Header {
            src_cid: HOST_CID,
            dst_cid: guest_cid,
            src_port: self.key.host,
            dst_port: self.key.guest,
            len,
            kind: TYPE_STREAM,
            op,
            flags,
            buf_alloc: self.window,
            fwd_cnt: self.told,
        }
    }
}
